"""The whole screen of a terminal: draws pages on it, reads the key that ends it, and restores what was there."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from opskit.support.console import Terminal, cell, out
from opskit.support.visible import visible

_KEY_SECONDS = 0.2  # how soon another size of the window is seen


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and rows or lines below it.

    Attributes:
        title: The heading.
        rows: A table's, each with the same columns; the values of the style column's rows are coloured by `styles`.
        empty: What is said where there are none.
        styles: Of a cell's whole text, such as {"dead": "red"}.
        is_prose: Rows are wrapped and not cut: sentences and commands must be read whole.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    empty: str = "none"
    styles: Mapping[str, str] = field(default_factory=dict)
    is_prose: bool = False


def drawn(head: Sequence[tuple[str, str]], sections: Sequence[Section]) -> RenderableType:
    """The document that a screen or a page shows.

    Args:
        head: Its first lines: text, and style.
        sections: What stands below.
    """
    parts: list[RenderableType] = [Text(visible(text), style) for text, style in head]
    for section in sections:
        parts += [Text(), Text(visible(section.title), "bold")]
        parts.append(_table(section) if section.rows else Text(visible(section.empty), "dim"))
    return Group(*parts)


def _table(section: Section) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=not section.is_prose)
    for name in section.rows[0]:
        number = any(isinstance(row[name], (int, float)) for row in section.rows)
        table.add_column(
            Text(visible(name)),
            justify="right" if number else "left",
            no_wrap=not section.is_prose,
            overflow="fold" if section.is_prose else "ellipsis",
        )
    for row in section.rows:
        texts = [cell(value) for value in row.values()]
        if section.is_prose:
            texts = ["\n".join(map(visible, str(value).split("\n"))) for value in row.values()]
        table.add_row(*(Text(text, section.styles.get(text, "")) for text in texts))
    return table


def print_page(head: Sequence[tuple[str, str]], sections: Sequence[Section]) -> None:
    """Print the page once, where the output is no screen."""
    Terminal.print(out, drawn(head, sections))


def is_screen() -> bool:
    """Whether stdout is a terminal that can be drawn on."""
    return out.is_terminal and not out.is_dumb_terminal


class Screen:
    """The alternate screen of a terminal; leaving it restores the first."""

    def __init__(self) -> None:
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._manners: list[Any] | None = None
        self._shown: RenderableType = Text()

    @property
    def height(self) -> int:
        """Lines that it has."""
        return _measured()[1]

    def show(self, what: RenderableType) -> None:
        """Draw."""
        self._shown = what
        out.size = _measured()
        out.update_screen(what)

    def wait(self, seconds: float) -> bool:
        """Wait, and draw again when the window has another size; whether q was pressed."""
        until, size = time.monotonic() + seconds, _measured()
        while (left := until - time.monotonic()) > 0:
            if self._pressed(min(left, _KEY_SECONDS)):
                return True
            if _measured() != size:
                size = _measured()
                self.show(self._shown)
        return False

    def _pressed(self, seconds: float) -> bool:
        if self._keys is None:
            time.sleep(seconds)
            return False
        if not select.select([self._keys], [], [], seconds)[0]:
            return False
        keys = os.read(self._keys, 1024)
        if not keys:  # the other end has gone
            return True
        return keys in (b"q", b"Q")

    def enter(self) -> None:
        """Take the terminal."""
        if self._keys is not None:
            self._manners = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        out.set_alt_screen(True)
        out.show_cursor(False)

    def leave(self) -> None:
        """Give it back as it was."""
        out.show_cursor(True)
        out.set_alt_screen(False)
        if self._keys is not None and self._manners is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._manners)


def _measured() -> ConsoleDimensions:
    """The size of the terminal as it is: rich goes by COLUMNS and LINES, which a shell may have set long ago."""
    try:
        width, height = os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1)
    except (OSError, ValueError):
        return out.size
    return ConsoleDimensions(width, height) if width and height else out.size


@contextlib.contextmanager
def screen() -> Iterator[Screen]:
    """A screen until the block ends, however it ends: an error, Ctrl-C, SIGTERM, SIGHUP; Ctrl-Z leaves it for now."""
    taken = Screen()

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def pause(_: int, __: FrameType | None) -> None:
        taken.leave()
        os.kill(os.getpid(), signal.SIGSTOP)  # goes on here at SIGCONT
        taken.enter()

    before = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGTERM, end), (signal.SIGHUP, end), (signal.SIGTSTP, pause))
    }
    taken.enter()
    try:
        yield taken
    finally:
        taken.leave()
        for number, handler in before.items():
            signal.signal(number, handler)
