"""Excel workbooks (.xlsx): a sheet, its header and its rows; as text, with the digits that are in the file.

Two ways read the cells: a regular expression where they are written as Excel, LibreOffice and the libraries write
them, a parser of XML where they are not. 800,000 cells take 0.5 s in the first.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO
from xml.parsers.expat import ExpatError

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.workbook import NotPlainError, SheetPart, Workbook, csv_field, fed, parser_of, quoted_text
from opskit.files.limits import LARGEST_PART, MOST_SHEET_COLUMNS, MOST_SHEET_ROWS
from opskit.files.table import Table, columns_of, readable

_CELL = re.compile(
    rb'<c(?: r="([A-Z]{1,3})\d+")?(?: s="(\d+)")?(?: t="(\w+)")?(?:\s*/>|>'
    rb'(<f(?:[^>]*/>|[^>]*>[^<]*</f>))?(?:<v(?: xml:space="preserve")?>([^<]*)</v>|<v\s*/>'
    rb'|(<is>)(?:<t(?: xml:space="preserve")?>([^<]*)</t>|<t\s*/>)</is>)?</c>)'
)
_NUMBER_OF_ROW = re.compile(rb'\br="(\d+)"')
_PLAIN_NUMBER = re.compile(rb"(?:-?[1-9]\d{0,14}|0|-0(?=\.))(?:\.\d{0,14}[1-9])?")
_WHOLE = re.compile(rb"-?\d+")
_ROWS_PER_BLOCK = 4096
_LONGEST_TEXT, _DEEPEST = 1 << 22, 100
_LONGEST_PROLOGUE = 1 << 22  # before the rows stand the widths of columns
Row = tuple[int, list[bytes | None]]


def open_xlsx(file: ClaimedFile, stream: BinaryIO, *, sheet: str = "") -> Table:
    """One sheet; its first row that is not empty is the header.

    Args:
        file: The claimed file.
        stream: Its bytes.
        sheet: The sheet's name. Defaults to the first one that is not hidden.

    Raises:
        Reject: It is no workbook, or has no such sheet.
    """
    with readable_book(file):
        book = Workbook(file.name, stream)
        chosen = choose(file, book.sheets, sheet)
        cells = Cells(file.name, book)
        header = next(cells.rows(chosen.path), (0, []))[1]
        names = [text_of(value) for value in header]
    width = len(names)
    others = [other.name for other in book.sheets if other is not chosen]

    def numbered() -> Iterator[tuple[int, bytes]]:
        with readable_book(file):
            rows = cells.rows(chosen.path)
            next(rows, None)
            for number, row in rows:
                if len(row) > width:
                    raise Reject(f"{file.name}, row {number}: {len(row)} cells under a header of {width}")
                fields = [value or b"" for value in row]
                yield number, b",".join(fields + [b""] * (width - len(row)))

    def blocks(_: Any) -> Iterator[bytes]:
        lines: list[bytes] = []
        size = done = 0
        for done, (_number, line) in enumerate(numbered(), 1):
            lines.append(line)
            size += len(line)
            if len(lines) == _ROWS_PER_BLOCK or size > 1 << 20:
                yield b"\n".join([*lines, b""])
                file.progress(done, None)
                lines, size = [], 0
        if lines:
            yield b"\n".join([*lines, b""])
        said.update(cells.said)

    said: dict[str, Any] = {"sheet": chosen.name}
    if others:
        said["other_sheets"] = others
    return Table(
        columns=columns_of(file, names),
        blocks=blocks,
        place=lambda row: next((number for index, (number, _) in enumerate(numbered(), 1) if index == row), row),
        said=said,
    )


def count_xlsx(file: ClaimedFile, stream: BinaryIO) -> int:
    """How many rows `open_xlsx` reads, without the header."""
    with readable(file, ExpatError, NotPlainError, wrong="is a broken workbook"):
        book = Workbook(file.name, stream)
        cells = Cells(file.name, book, strict=False)
        return max(sum(1 for _ in cells.rows(choose(file, book.sheets, "").path)) - 1, 0)


def readable_book(file: ClaimedFile) -> Any:
    """As `readable`, for XML that is broken, too."""
    return readable(file, ExpatError, NotPlainError)


def choose(file: ClaimedFile, sheets: list[SheetPart], name: str) -> SheetPart:
    """The sheet of a name; without one the first that is not hidden, else the first."""
    if name:
        found = next((sheet for sheet in sheets if sheet.name == name), None)
        if found is None:
            there = ", ".join(repr(sheet.name) for sheet in sheets[:10])
            raise Reject(f"{file.name} has no sheet {name!r}; there are {there}")
        return found
    if not sheets:
        raise Reject(f"{file.name} has no sheet with cells")
    return next((sheet for sheet in sheets if sheet.visible), sheets[0])


def text_of(field: bytes | None) -> str:
    """What a field of CSV says."""
    text = (field or b"").decode("utf-8", "replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


class Cells:
    """Reads a sheet's rows.

    Attributes:
        said: What was met, for the result: how many cells hold an error, how many a formula that its writer has not
            calculated.
    """

    def __init__(self, name: str, book: Workbook, *, strict: bool = True) -> None:
        self._name, self._book, self._strict = name, book, strict
        self._columns: dict[bytes, int] = {}
        self._dated = functools.lru_cache(1 << 16)(self._as_date)
        self.said: dict[str, int] = {}

    def rows(self, path: str) -> Iterator[Row]:
        """The rows that hold anything, with their numbers, without the empty cells at their ends.

        Raises:
            Reject: A row or a cell is none that Excel could have, or a formula has no value.
        """
        self.said.clear()
        done = 0
        try:
            for number, row in self._plain_rows(path):
                yield number, row
                done = number
        except NotPlainError:
            for number, row in self._parsed_rows(path):
                if number > done:
                    yield number, row

    # -- the fast way ------------------------------------------------------------------------

    def _plain_rows(self, path: str) -> Iterator[Row]:
        blocks = self._book.blocks(path)
        rest = b""
        before = 0
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
                for number, row in self._chunk_rows(chunk, before):
                    before = number
                    if row:
                        yield number, row
            if end >= 0:
                break
            block = next(blocks, b"")
            if not block or len(rest) > LARGEST_PART:
                raise NotPlainError
            rest += block
        for _ in blocks:  # to its end, so that its checksum is checked
            pass

    def _chunk_rows(self, chunk: bytes, before: int) -> Iterator[Row]:
        if b"<!" in chunk or b"<?" in chunk or b":row" in chunk or b":c " in chunk:
            raise NotPlainError
        found = 0
        rows: list[Row] = []
        pieces = chunk.split(b"<row")
        if pieces[0].strip():
            raise NotPlainError
        for piece in pieces[1:]:
            end = piece.find(b">")
            if end < 0 or piece[:1] not in (b" ", b">", b"/", b"\n", b"\t"):
                raise NotPlainError
            empty = piece[end - 1 : end] == b"/"
            if not piece.rstrip().endswith(b"/>" if empty else b"</row>"):
                raise NotPlainError
            given = _NUMBER_OF_ROW.search(piece, 0, end)
            number = int(given[1][:20]) if given else before + 1
            self._check_row(number, before)
            before = number
            cells = _CELL.findall(piece, end)
            found += len(cells)
            rows.append((number, self._row(number, cells) if cells else []))
        if chunk.count(b"<c") - chunk.count(b"<col") != found:
            raise NotPlainError
        yield from rows

    def _row(self, number: int, cells: list[tuple[bytes, ...]]) -> list[bytes | None]:
        row: list[bytes | None] = []
        columns, texts = self._columns, self._book.texts
        for reference, style, kind, formula, value, inline, text in cells:
            if reference:
                place = columns.get(reference)
                if place is None:
                    place = columns[reference] = self._column(number, reference.decode())
                if place != len(row):
                    if place < len(row):
                        raise Reject(f"{self._name}, row {number}: two cells stand in column {reference.decode()}")
                    row += [None] * (place - len(row))
            elif len(row) >= MOST_SHEET_COLUMNS:
                self._too_wide(number)
            if kind == b"s" and value:
                row.append(texts[int(value)])
            elif not kind and not style and not formula and value:
                row.append(value if _PLAIN_NUMBER.fullmatch(value) else self._number(number, value))
            elif inline and kind == b"inlineStr":
                row.append(csv_field(text))
            else:
                row.append(self._value(number, style, kind, formula, value, csv_field))
        while row and row[-1] is None:
            row.pop()
        return row

    # -- the way for any XML -----------------------------------------------------------------

    def _parsed_rows(self, path: str) -> Iterator[Row]:
        self.said.clear()
        reader = _SheetParser(self)
        parser = parser_of(self._name, reader.start, reader.end, reader.text)
        for _ in fed(self._name, parser, self._book.blocks(path)):
            yield from reader.taken()

    # -- cells -------------------------------------------------------------------------------

    def _check_row(self, number: int, before: int) -> None:
        if not before < number <= MOST_SHEET_ROWS:
            why = "stands twice, or after a later one" if number <= before else f"; a sheet has {MOST_SHEET_ROWS}"
            raise Reject(f"{self._name}, row {number}{' ' if number <= before else ''}{why}")

    def _column(self, number: int, letters: str) -> int:
        place = functools.reduce(lambda so_far, letter: so_far * 26 + ord(letter) - 64, letters, 0) - 1
        if place >= MOST_SHEET_COLUMNS:
            self._too_wide(number)
        return place

    def _too_wide(self, number: int) -> None:
        raise Reject(f"{self._name}, row {number}: more cells than a sheet has columns, {MOST_SHEET_COLUMNS}")

    def _value(
        self, number: int, style: bytes, kind: bytes, formula: bytes, value: bytes, quoted: Callable[[bytes], bytes]
    ) -> bytes | None:
        """A cell's value as a field of CSV; None when it is empty."""
        if formula and self._book.to_be_calculated:
            self._met("formulas_not_calculated")
        if kind == b"str":
            return quoted(value) if value or formula else None
        if not value:
            if formula and self._strict:
                raise Reject(
                    f"{self._name}, row {number}: a formula has no stored value; open the workbook in Excel or "
                    "LibreOffice and save it"
                )
            return b"" if formula else None
        if kind in (b"", b"n"):
            how = self._format(style)
            return self._dated(how, value) if how else self._number(number, value)
        if kind == b"s":
            return self._book.texts[int(value)]
        if kind == b"b":
            return b"true" if value.strip() in (b"1", b"true") else b"false"
        if kind == b"e":
            self._met("errors")
        return quoted(value)

    def _met(self, what: str) -> None:
        self.said[what] = self.said.get(what, 0) + 1

    def _format(self, style: bytes) -> str:
        number = int(style or b"0")
        return self._book.formats[number] if number < len(self._book.formats) else ""

    def _number(self, number: int, value: bytes) -> bytes:
        value = value.strip()
        if _WHOLE.fullmatch(value):
            return value if value.strip(b"-0") else b"0"
        try:
            found = float(value)
        except ValueError:
            raise Reject(f"{self._name}, row {number}: {value[:40].decode(errors='replace')!r} is no number") from None
        digits = value.lower().partition(b"e")[0].translate(None, b"+-.").strip(b"0")
        if len(digits) > 17 and b"e" not in value.lower():
            return value  # more than a number of Excel's holds: it was written by another program
        if found.is_integer() and abs(found) < 2**53:
            return str(int(found)).encode()
        return repr(found).encode()

    def _as_date(self, how: str, value: bytes) -> bytes:
        days = float(value)
        milliseconds = round(days * 86_400_000) if abs(days) < 1e7 else -1
        if how == "elapsed" and milliseconds >= 0:
            seconds, rest = divmod(milliseconds, 1000)
            text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{rest:03}" if rest else "")
            return f'"{text}"'.encode()
        if 0 <= milliseconds < 86_400_000 and not self._book.since_1904:
            return (
                b'"'
                + (datetime.datetime.min + datetime.timedelta(milliseconds=milliseconds)).time().isoformat().encode()
                + b'"'
            )
        if not 0 <= milliseconds < 2_958_466 * 86_400_000:
            return self._number(0, value)  # Excel shows no date for it
        if self._book.since_1904:
            start = datetime.datetime(1904, 1, 1)
        else:
            # Excel has a 29 February 1900, day 60, which never was.
            if 60 <= milliseconds / 86_400_000 < 61:
                clock = (datetime.datetime.min + datetime.timedelta(milliseconds=milliseconds % 86_400_000)).time()
                return f'"1900-02-29T{clock.isoformat()}"'.encode()
            start = datetime.datetime(1899, 12, 31 if milliseconds < 60 * 86_400_000 else 30)
        try:
            return f'"{(start + datetime.timedelta(milliseconds=milliseconds)).isoformat()}"'.encode()
        except OverflowError:
            return self._number(0, value)


class _SheetParser:
    """Takes a parser's calls, and gives rows."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
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
            raise Reject(f"{self._cells._name} cannot be read: its tags are nested more than {_DEEPEST} deep")
        if tag == "row":
            number = int(given["r"][:20]) if "r" in given else self._number + 1
            self._cells._check_row(number, self._number)
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
                raise Reject(f"{self._cells._name}, row {self._number}: a cell of more than {_LONGEST_TEXT >> 20} MB")
            self._value.append(data)

    def end(self, tag: str) -> None:
        self._within.pop()
        if tag == "c":
            self._add()
        elif tag == "row":
            while self._row and self._row[-1] is None:
                self._row.pop()
            if self._row:
                self._rows.append((self._number, self._row))

    def _add(self) -> None:
        letters = self._cell.get("r", "").rstrip("0123456789").upper()
        place = self._cells._column(self._number, letters) if letters else len(self._row)
        if place < len(self._row):
            raise Reject(f"{self._cells._name}, row {self._number}: two cells stand in column {letters}")
        if place >= MOST_SHEET_COLUMNS:
            self._cells._too_wide(self._number)
        self._row += [None] * (place - len(self._row))
        kind, value = self._cell.get("t", ""), "".join(self._value)
        if kind == "inlineStr":
            self._row.append(quoted_text(value) if self._is_text else None)
            return
        self._row.append(
            self._cells._value(
                self._number, self._cell.get("s", "").encode(), kind.encode(), b"f" if self._has_formula else b"",
                value.encode(), lambda text: quoted_text(text.decode()),
            )
        )  # fmt: skip
