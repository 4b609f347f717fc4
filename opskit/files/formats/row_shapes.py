"""Rows of a sheet that are written alike: one expression reads a whole row, and columns are turned into text at once.

Most sheets have a few kinds of rows: the same columns, each with the same style and type. A kind that has been met
twice is compiled; its rows then cost a match each, and what is left of the work is done in C, column by column.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from opskit.files.formats.cells import Cells
from opskit.files.formats.workbook import Workbook, csv_field

_MOST_SHAPES, _MOST_TRIED, _MOST_CELLS = 16, 4, 200
_MOST_MET = 1000
_FLOAT = rb"-?\d{1,20}(?:\.\d{1,25})?(?:[eE][-+]?\d{1,2})?"
_CANONICAL = rb"(?:-?[1-9]\d{0,19}|0|-0(?=\.))(?:\.\d{0,24}[1-9])?"
_FORMULA = rb"<f(?:[^>]*/>|[^>]*>[^<]*</f>)"
_TRUTH = {b"0": b"false", b"1": b"true"}
Cell = Sequence[bytes]
"""Reference, style, type, formula, value, whether it is a text of its own, that text: as the file has them."""
Column = Callable[[Iterable[bytes]], Iterable[bytes]]


class RowShape:
    """One kind of row.

    Attributes:
        match: Matches such a row, from after "<row" on: its number, then the values of its cells.
        cells: How many cells it has.
        width: How many fields its line has.
    """

    def __init__(self, pattern: bytes, columns: Sequence[Column | None], cells: int) -> None:
        self.match = re.compile(pattern).fullmatch
        self.cells, self.width = cells, len(columns)
        self._columns = columns

    def lines(self, values: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
        """The rows of such values, the number before them, as lines of CSV."""
        _, *found = zip(*values, strict=True)
        given = iter(found)
        fields = [itertools.repeat(b"") if turned is None else turned(next(given)) for turned in self._columns]
        return map(b",".join, zip(*fields, strict=False))


_NONE = RowShape(rb"(?!)", [], 0)


class RowShapes:
    """The kinds of rows that a sheet has shown so far."""

    def __init__(self, book: Workbook, cells: Cells) -> None:
        self._book, self._cells = book, cells
        self._met: Counter[tuple[tuple[object, ...], ...]] = Counter()
        self._known: list[RowShape] = []
        self._number = functools.partial(cells.number, 0)

    @property
    def first(self) -> RowShape:
        """The one that was met last; one that no row has, at first."""
        return self._known[0] if self._known else _NONE

    def of(self, row: bytes) -> RowShape | None:
        """The shape that a row has, if it is known."""
        shape = next((shape for shape in self._known[:_MOST_TRIED] if shape.match(row)), None)
        if shape:
            self._known.remove(shape)
            self._known.insert(0, shape)
        return shape

    def learn(self, cells: Sequence[Cell]) -> None:
        """Note a row that was read in another way; the second of its kind makes it known."""
        if len(self._known) >= _MOST_SHAPES or len(cells) > _MOST_CELLS or len(self._met) > _MOST_MET:
            return
        parts = [self._part(cell) for cell in cells]
        key = tuple((cell[0], part and part[0]) for cell, part in zip(cells, parts, strict=True))
        self._met[key] += 1
        if self._met[key] != 2 or not all(parts):
            return
        pattern = rb'\s[^>]*?\br="(\d{1,7})"[^>]*>'
        columns: list[Column | None] = []
        width = 0
        for (reference, *_), part in zip(cells, parts, strict=True):
            assert part is not None
            place = self._cells.column(0, reference.decode())
            columns += [None] * (place - len(columns))
            pattern += b'<c r="' + reference + rb'\d+"' + part[0]
            columns.append(part[1])
            width = width if part[1] is None else len(columns)
        if width:
            shape = RowShape(pattern + rb"</row>\s*", columns[:width], len(cells))
            self._known.insert(0, shape)

    def _part(self, cell: Cell) -> tuple[bytes, Column | None] | None:
        """How such a cell goes on after its reference, and what becomes of its values; None where that may differ."""
        reference, style, kind, formula, value, inline, _ = cell
        if not reference or (formula and self._book.to_be_calculated):
            return None
        head = (b' s="' + style + b'"' if style else b"") + (b' t="' + kind + b'"' if kind else b"")
        begin = head + b">" + (_FORMULA if formula else b"")
        if inline and kind == b"inlineStr" and not formula:
            text = rb'<is><t(?: xml:space="preserve")?>([^<]*)</t></is></c>'
            return begin + text, functools.partial(map, csv_field)
        if inline or not value:
            return None if inline or formula or kind else (head + rb"\s*/>", None)
        if kind == b"s":
            return begin + rb"<v>(\d{1,7})</v></c>", self._book.texts.of
        if kind == b"str":
            return begin + rb'<v(?: xml:space="preserve")?>([^<]+)</v></c>', functools.partial(map, csv_field)
        if kind == b"b":
            return begin + rb"<v>([01])</v></c>", functools.partial(map, _TRUTH.__getitem__)
        if kind not in (b"", b"n"):
            return None
        if how := self._cells.format(style):
            return begin + rb"<v>(" + _FLOAT + rb")</v></c>", functools.partial(
                map, functools.partial(self._cells.dated, how)
            )
        if re.fullmatch(_CANONICAL, value):
            return begin + rb"<v>(" + _CANONICAL + rb")</v></c>", self._shortest
        return begin + rb"<v>(" + _FLOAT + rb")</v></c>", functools.partial(map, self._number)

    def _shortest(self, column: Iterable[bytes]) -> Iterable[bytes]:
        # Of 15 digits no two are the same double.
        return [value if len(value) <= 16 else self._number(value) for value in column]
