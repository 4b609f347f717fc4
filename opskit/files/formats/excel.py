"""Excel workbooks (.xlsx): a sheet, its header and its rows; as text, with the digits that are in the file."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers.expat import ExpatError

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.cells import Cells
from opskit.files.formats.workbook import NotPlainError, SheetPart, Workbook
from opskit.files.formats.xml_rows import SheetRows
from opskit.files.table import Table, columns_of, readable


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
        sheet_rows = SheetRows(file.name, book, cells)
        begun = sheet_rows.rows(chosen.path)
        first = next(begun, [])
        header = first[0][1] if first else b""
        names = next(csv.reader(io.StringIO(header.decode("utf-8", "replace"), newline="")), [])
    width = len(names)
    others = [other.name for other in book.sheets if other is not chosen]

    def blocks(_: Any) -> Iterator[bytes]:
        done = 0
        with readable_book(file):
            for rows in itertools.chain((first[1:],), begun):
                if max((filled for _, _, filled in rows), default=0) > width:
                    number, _, filled = next(row for row in rows if row[2] > width)
                    raise Reject(f"{file.name}, row {number}: {filled} cells under a header of {width}")
                lines = [line if filled == width else line + b"," * (width - filled) for _, line, filled in rows]
                yield b"\n".join([*lines, b""])
                done += len(rows)
                file.progress(done, None)
        said.update(cells.said)

    def number_of(index: int) -> int:
        """The number of a row, given its index from 1 below the header."""
        with readable_book(file):
            every = itertools.chain.from_iterable(sheet_rows.rows(chosen.path))
            return next(itertools.islice(every, index, None), (index,))[0]

    said: dict[str, Any] = {"sheet": chosen.name}
    if others:
        said["other_sheets"] = others
    return Table(
        columns=columns_of(file, names),
        blocks=blocks,
        place=number_of,
        said=said,
    )


def count_xlsx(file: ClaimedFile, stream: BinaryIO) -> int:
    """How many rows `open_xlsx` reads, without the header."""
    with readable(file, ExpatError, NotPlainError, wrong="is a broken workbook"):
        book = Workbook(file.name, stream)
        rows = SheetRows(file.name, book, Cells(file.name, book, strict=False))
        return max(sum(map(len, rows.rows(choose(file, book.sheets, "").path))) - 1, 0)


def readable_book(file: ClaimedFile) -> Any:
    """As `readable`, for XML that is broken, too."""
    return readable(file, ExpatError, NotPlainError, csv.Error)


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
