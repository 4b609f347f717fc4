"""What people see on a terminal: tables, bars and lines; programs get JSON."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opskit.support.progress import Progress
from opskit.support.visible import visible, visible_lines

if TYPE_CHECKING:
    # What few verbs use is loaded by them: it takes longer than the rest of rich.
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Terminal(Console):
    """A console for which every text is data: no markup, no emoji names, nothing that the terminal would obey."""

    def __init__(self, **how: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **how)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as rich does, with texts made visible; for style give a `rich.text.Text`."""
        super().print(*(visible_lines(one) if isinstance(one, str) else one for one in objects), **how)


out = Terminal()
err = Terminal(stderr=True)
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")  # a time, as `stats.records` writes it


def as_json(value: object) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, default=_plain, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()


def table(
    rows: Iterable[Mapping[str, Any]],
    *,
    title: str = "",
    empty: str = "nothing to show",
    in_lines: Collection[str] = (),
) -> None:
    """Rows as a table; numbers to the right, times and long numbers made short.

    Args:
        rows: Each with the same columns.
        title: Stands above it.
        empty: What is said where there are no rows.
        in_lines: Columns whose lines are our own, and are kept.
    """
    rows = list(rows)
    if not rows:
        out.print(empty)
        return
    shown = Table(
        title=Text(visible(title)) if title else None,
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for name in rows[0]:
        kinds = {type(row[name]) for row in rows} - {type(None)}
        number = bool(kinds) and kinds <= {int, float}
        shown.add_column(Text(visible(name)), justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(_lines(value) if name in in_lines else cell(value)) for name, value in row.items()))
    out.print(shown)


def markdown(text: str) -> None:
    """A page of our own: set on a terminal, as it is written elsewhere."""
    if out.is_terminal:
        from rich.markdown import Markdown

        Console.print(out, Markdown(text, hyperlinks=False))
    else:
        out.print(text, soft_wrap=True)


class Bar:
    """Lines and how far a long piece of work is, on stderr: a bar on a terminal, now and then a line elsewhere."""

    LINE_SECONDS = 10.0
    """How often a line says how far the work is where there is no terminal [s]."""

    def __init__(self, progress: RichProgress | None, *, quiet: bool) -> None:
        self._progress, self._quiet = progress, quiet
        self._task: TaskID | None = None
        self._told = time.monotonic()

    def line(self, text: str) -> None:
        """Say something that stays."""
        self._clear()
        if not self._quiet:
            err.print(text, soft_wrap=True)

    def at(self, now: Progress) -> None:
        """Show how far the work is: what a verb calls as its `on_progress`."""
        if self._quiet:
            return
        share, text = now.share, now.text
        if self._progress is not None:
            total, done = (None, 0) if share is None else (100, 100 * share)
            if self._task is None:
                self._task = self._progress.add_task(visible(text), total=total)
            self._progress.update(self._task, description=visible(text), total=total, completed=done)
        elif time.monotonic() - self._told > self.LINE_SECONDS:
            self._told = time.monotonic()
            how_far = "" if share is None else f", {share:.0%}"
            err.print(f"  {text}{how_far}", soft_wrap=True)

    def _clear(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Bar]:
    """A bar for a long piece of work.

    Args:
        quiet: Nothing is shown: a program reads.
    """
    if quiet or not err.is_terminal:
        yield Bar(None, quiet=quiet)
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=err, transient=True) as shown:
        yield Bar(shown, quiet=False)


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    text = str(value)
    return f"{text[:10]} {text[11:19]}" if _ISO.fullmatch(text) else visible(text)


def _lines(value: object) -> str:
    return "\n".join(map(visible, str(value).split("\n")))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if hasattr(value, "item"):
        return value.item()
    return str(value)
