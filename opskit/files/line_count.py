"""Counting a text's lines and rows, block by block, as they would be loaded."""

from __future__ import annotations

import re

_BUT_QUOTES_AND_ENDS = bytes(set(range(256)) - set(b'"\r\n'))
_ENDS = b"\r\n"
_BLANK = re.compile(rb"\n[ \t\r]*(?=\n)")


def breaks(text: bytes) -> int:
    """How many lines end: with a line feed, a carriage return, or both."""
    ends = text.count(b"\n")
    if b"\r" in text:
        ends += text.count(b"\r") - text.count(b"\r\n")
    return ends


class LineCount:
    """Counts lines, block by block; with *quotes*, line breaks within double quotes are part of their line.

    Attributes:
        all: Lines, the last one too if it has no line break.
        filled: The same without the empty lines at the end of the file, and without a Ctrl-Z there, which DOS writes.
    """

    def __init__(self, *, quotes: bool) -> None:
        self._quotes, self._inside = quotes, False
        self._passed = self._pending = 0
        self._held = b""
        self._open = self._any = False

    @property
    def all(self) -> int:
        """Lines, empty ones among them."""
        return self._passed + self._pending + breaks(self._held) + self._open

    @property
    def filled(self) -> int:
        """Lines with something in them."""
        return self._passed + self._any

    def add(self, block: bytes) -> None:
        """Count a block. What it ends in may go on in the next."""
        self._open = not block.endswith((b"\n", b"\r", b"\n\x1a", b"\r\x1a"))
        block = self._held + block
        body = block.rstrip(b"\r\n\x1a")
        self._held = block[len(body) :]
        if len(self._held) > 1 << 20:
            if not self._inside:
                self._pending += breaks(self._held[:-2])
            self._held = self._held[-2:]
        if body:
            self._any = True
            self._passed += self._pending + self._outside(body)
            self._pending = 0

    def _outside(self, block: bytes) -> int:
        if not self._quotes or not (self._inside or b'"' in block):
            return breaks(block)
        # Quotes side by side cancel out. What is left is short, and every second piece of it is quoted;
        # splitting the block itself is ten times slower where every field is quoted.
        # A carriage return and a line feed with text between them are two ends, and would be one without it.
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        marks = block.translate(None, delete=_BUT_QUOTES_AND_ENDS).replace(b'""', b"")
        pieces = marks.split(b'"')
        outside = b"x".join(pieces[self._inside :: 2])
        self._inside ^= len(pieces) % 2 == 0
        return breaks(outside)


class FilledLineCount:
    """Counts the lines that hold anything, block by block.

    Attributes:
        filled: How many there are so far.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._passed = 0

    @property
    def filled(self) -> int:
        """Lines with something in them."""
        return self._passed + bool(self._rest.removesuffix(b"\x1a").strip())

    def add(self, block: bytes) -> None:
        """Count a block's whole lines; of a line that goes on, only what tells that it holds anything is kept."""
        cut = block.rfind(b"\n") + 1
        if cut:
            whole = b"\n" + self._rest + block[:cut]
            lines = whole.count(b"\n") - 1
            # Most lines begin with an object: then none is blank.
            blank = 0 if whole.count(b"\n{") == lines else len(_BLANK.findall(whole))
            self._passed += lines - blank
            self._rest = b""
        left = block[cut:]
        self._rest = (self._rest + (left if left.strip() == b"\x1a" else left.strip()[:2]))[:2]
