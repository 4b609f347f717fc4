"""The rows of a workbook's sheet, as lines of CSV.

Three ways read them, and give the same: an expression for a whole row, where one has been met that is written alike;
an expression for a cell, where it is written as Excel, LibreOffice and the libraries write one; a parser of XML for all
others.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator

from opskit.errors import Reject
from opskit.files import collector
from opskit.files.formats.cells import Cells
from opskit.files.formats.row_shapes import RowShape, RowShapes
from opskit.files.formats.workbook import NotPlainError, Workbook, csv_field, fed, parser_of, quoted_text
from opskit.files.kinds import BLOCK
from opskit.files.limits import LARGEST_PART, LONGEST_RECORD, MOST_SHEET_COLUMNS, MOST_SHEET_ROWS, MOST_TIMES

_CELL = re.compile(
    rb'<c(?: r="([A-Z]{1,3})\d+")?(?: s="(\d+)")?(?: t="(\w+)")?(?:\s*/>|>'
    rb'(<f(?:[^>]*/>|[^>]*>[^<]*</f>))?(?:<v(?: xml:space="preserve")?>([^<]*)</v>|<v\s*/>'
    rb'|(<is>)(?:<t(?: xml:space="preserve")?>([^<]*)</t>|<t\s*/>)</is>)?</c>)'
)
_NUMBER_OF_ROW = re.compile(rb'\br="(\d+)"')
# At most 15 digits: then it is the shortest text of its double.
_PLAIN_NUMBER = re.compile(rb"(?=[-\d.]{1,16}\Z)(?:-?[1-9]\d{0,14}|0|-0(?=\.))(?:\.\d{0,14}[1-9])?")
_LONGEST_TEXT, _DEEPEST = 1 << 22, 100
_LONGEST_PROLOGUE = 1 << 22  # before the rows stand the widths of columns
_FREE_BYTES, _MOST_AT_ONCE, _MOST_FED = 1 << 26, 1 << 23, 1 << 12
Row = tuple[int, bytes, int]
"""A row's number, its fields as a line of CSV, and how many there are, without the empty ones at the end."""


class SheetRows:
    """Reads a sheet's rows."""

    def __init__(self, name: str, book: Workbook, cells: Cells) -> None:
        self._name, self._book, self._cells = name, book, cells
        self._columns: dict[bytes, int] = {}
        self._last = 0
        self._shapes = RowShapes(book, cells)

    def rows(self, path: str) -> Iterator[list[Row]]:
        """The rows that hold anything, some at a time.

        Raises:
            Reject: A row or a cell is none that Excel could have, a formula has no value, or the texts that the rows
                share become far more than the file.
        """
        self._cells.said.clear()
        done = written = 0
        for way in (self._plain_rows, self._parsed_rows):
            try:
                for some in way(path):
                    rows = [row for row in some if row[0] > done] if way == self._parsed_rows else some
                    written += sum([len(line) for _, line, _ in rows])
                    if written > _FREE_BYTES + MOST_TIMES * self._book.size:
                        most = (_FREE_BYTES + MOST_TIMES * self._book.size) >> 20
                        raise Reject(f"{self._name} becomes more than {most} MB, far more than it is")
                    if rows:
                        yield rows
                        done = rows[-1][0]
            except NotPlainError:
                if way == self._parsed_rows:
                    raise
            else:
                return

    # -- by expressions ----------------------------------------------------------------------

    def _plain_rows(self, path: str) -> Iterator[list[Row]]:
        blocks = self._book.blocks(path)
        rest = b""
        self._last = 0
        while (at := rest.find(b"<sheetData")) < 0 or b">" not in rest[at:]:
            block = next(blocks, b"")
            rest += block
            if not block or b"<!" in rest or b"<?" in rest[2:] or len(rest) > _LONGEST_PROLOGUE:
                raise NotPlainError
        at = rest.index(b">", at)
        if rest[at - 1 : at] == b"/":
            return
        rest = rest[at + 1 :]
        while True:
            end = rest.find(b"</sheetData>")
            cut = end if end >= 0 else rest.rfind(b"</row>") + 6
            if cut >= 6 or end >= 0:
                chunk, rest = rest[:cut], rest[cut:]
                for portion in self._portions(chunk):
                    with collector.paused():
                        rows = self._chunk_rows(portion)
                    yield rows
            if end >= 0:
                break
            block = next(blocks, b"")
            if not block or len(rest) > LARGEST_PART:
                raise NotPlainError
            rest += block
        for _ in blocks:  # to its end, so that its checksum is checked
            pass

    def _portions(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk in parts whose rows stay small, however long the texts are that they share."""
        if self._book.texts.longest * chunk.count(b'"s"') > _MOST_AT_ONCE:
            cut = chunk.find(b"</row>", len(chunk) // 2) + 6
            if not 6 <= cut < len(chunk):
                cut = chunk.find(b"</row>") + 6
            if 6 <= cut < len(chunk):
                yield from self._portions(chunk[:cut])
                yield from self._portions(chunk[cut:])
                return
        yield chunk

    def _chunk_rows(self, chunk: bytes) -> list[Row]:
        """The rows of a piece of XML, whole ones.

        Raises:
            NotPlainError: Something in it is written in a way that the expressions do not know.
        """
        if b"<!" in chunk or b"<?" in chunk or b":row" in chunk or b":c " in chunk:
            raise NotPlainError
        pieces = chunk.split(b"<row")
        if pieces[0].strip():
            raise NotPlainError
        del pieces[0]
        before = self._last
        found = 0
        numbers = [0] * len(pieces)
        rows: list[Row | None] = [None] * len(pieces)
        alike: dict[RowShape, tuple[list[int], list[tuple[bytes, ...]]]] = {}
        shape = self._shapes.first
        heavy = len(pieces) == 1 and self._book.texts.longest * MOST_SHEET_COLUMNS > LONGEST_RECORD
        places, values = alike.setdefault(shape, ([], []))
        for place, piece in enumerate(pieces):
            if heavy:
                numbers[place], cells = self._read(piece, before)
                found += len(cells)
                rows[place] = self._row(numbers[place], cells) if cells else None
            elif match := shape.match(piece):
                places.append(place)
                values.append(match.groups())
            elif other := self._shapes.of(piece):
                shape = other
                places, values = alike.setdefault(shape, ([], []))
                places.append(place)
                values.append(shape.match(piece).groups())  # type: ignore[union-attr]
            else:
                if place and not (before := numbers[place - 1]):
                    before = int(values[-1][0])
                numbers[place], cells = self._read(piece, before)
                found += len(cells)
                rows[place] = self._row(numbers[place], cells) if cells else None
        for shape, (places, values) in alike.items():
            if not places:
                continue
            found += shape.cells * len(places)
            for place, line, (digits, *_) in zip(places, shape.lines(values), values, strict=True):
                numbers[place] = int(digits)
                rows[place] = numbers[place], line, shape.width
        if chunk.count(b"<c") - chunk.count(b"<col") != found:
            raise NotPlainError
        if numbers and not (
            self._last < numbers[0] and numbers[-1] <= MOST_SHEET_ROWS and all(map(operator.lt, numbers, numbers[1:]))
        ):
            for earlier, number in zip([self._last, *numbers], numbers, strict=False):
                self._cells.check_row(number, earlier)
        self._last = numbers[-1] if numbers else self._last
        return [row for row in rows if row and row[2]]

    def _read(self, piece: bytes, before: int) -> tuple[int, list[tuple[bytes, ...]]]:
        """A row's number and its cells, from what stands after "<row"."""
        end = piece.find(b">")
        if end < 0 or piece[:1] not in (b" ", b">", b"/", b"\n", b"\t"):
            raise NotPlainError
        empty = piece[end - 1 : end] == b"/"
        if not piece.rstrip().endswith(b"/>" if empty else b"</row>"):
            raise NotPlainError
        given = _NUMBER_OF_ROW.search(piece, 0, end)
        number = int(given[1][:20]) if given else before + 1
        self._cells.check_row(number, before)
        return number, _CELL.findall(piece, end)

    def _row(self, number: int, cells: list[tuple[bytes, ...]]) -> Row:
        row: list[bytes | None] = []
        columns = self._columns
        for reference, style, kind, formula, value, inline, text in cells:
            if reference:
                place = columns.get(reference)
                if place is None:
                    place = columns[reference] = self._cells.column(number, reference.decode())
                if place != len(row):
                    if place < len(row):
                        raise Reject(f"{self._name}, row {number}: two cells stand in column {reference.decode()}")
                    row += [None] * (place - len(row))
            elif len(row) >= MOST_SHEET_COLUMNS:
                self._cells.too_wide(number)
            if kind == b"s" and value:
                row.append(self._cells.text(number, value))
            elif not kind and not style and not formula and value:
                row.append(value if _PLAIN_NUMBER.fullmatch(value) else self._cells.number(number, value))
            elif inline and kind == b"inlineStr":
                row.append(csv_field(text))
            else:
                row.append(self._cells.value(number, style, kind, formula, value, csv_field))
        self._shapes.learn(cells)
        return _line(self._name, number, row)

    # -- by a parser -------------------------------------------------------------------------

    def _parsed_rows(self, path: str) -> Iterator[list[Row]]:
        self._cells.said.clear()
        reader = _SheetParser(self._name, self._cells)
        parser = parser_of(self._name, reader.start, reader.end, reader.text)
        step = _MOST_FED if self._book.texts.longest > 1 << 12 else BLOCK
        blocks = (block[at : at + step] for block in self._book.blocks(path) for at in range(0, len(block), step))
        for _ in fed(self._name, parser, blocks):
            yield reader.taken()


def _line(name: str, number: int, row: list[bytes | None]) -> Row:
    """A row of fields.

    Raises:
        Reject: It is too long.
    """
    while row and row[-1] is None:
        row.pop()
    if sum([len(field) for field in row if field]) > LONGEST_RECORD:
        raise Reject(f"{name}, row {number}: more than {LONGEST_RECORD >> 20} MB")
    return number, b",".join([field or b"" for field in row]), len(row)


class _SheetParser:
    """Takes a parser's calls, and gives rows."""

    def __init__(self, name: str, cells: Cells) -> None:
        self._name, self._cells = name, cells
        self._rows: list[Row] = []
        self._row: list[bytes | None] = []
        self._number = 0
        self._within: list[str] = []
        self._cell: dict[str, str] = {}
        self._value: list[str] = []
        self._length = 0
        self._has_formula = self._is_text = False

    def taken(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows

    def start(self, tag: str, given: dict[str, str]) -> None:
        self._within.append(tag)
        if len(self._within) > _DEEPEST:
            raise Reject(f"{self._name} cannot be read: its tags are nested more than {_DEEPEST} deep")
        if tag == "row":
            number = int(given["r"][:20]) if "r" in given else self._number + 1
            self._cells.check_row(number, self._number)
            self._number, self._row = number, []
        elif tag == "c":
            self._cell, self._value, self._length = given, [], 0
            self._has_formula = self._is_text = False
        elif tag == "f":
            self._has_formula = True
        elif tag == "is":
            self._is_text = True

    def text(self, data: str) -> None:
        if self._within[-1] == "v" or (self._within[-1] == "t" and "rPh" not in self._within):
            self._length += len(data)
            if self._length > _LONGEST_TEXT:
                raise Reject(f"{self._name}, row {self._number}: a cell of more than {_LONGEST_TEXT >> 20} MB")
            self._value.append(data)

    def end(self, tag: str) -> None:
        self._within.pop()
        if tag == "c":
            self._add()
        elif tag == "row":
            row = _line(self._name, self._number, self._row)
            if row[2]:
                self._rows.append(row)

    def _add(self) -> None:
        letters = self._cell.get("r", "").rstrip("0123456789").upper()
        place = self._cells.column(self._number, letters) if letters else len(self._row)
        if place < len(self._row):
            raise Reject(f"{self._name}, row {self._number}: two cells stand in column {letters}")
        if place >= MOST_SHEET_COLUMNS:
            self._cells.too_wide(self._number)
        self._row += [None] * (place - len(self._row))
        kind, value = self._cell.get("t", ""), "".join(self._value)
        if kind == "inlineStr":
            self._row.append(quoted_text(value) if self._is_text else None)
            return
        self._row.append(
            self._cells.value(
                self._number, self._cell.get("s", "").encode(), kind.encode(), b"f" if self._has_formula else b"",
                value.encode(), lambda text: quoted_text(text.decode()),
            )
        )  # fmt: skip
