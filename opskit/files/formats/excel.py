"""Excel workbooks: the first sheet, its header and its rows."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

from opskit.errors import MissingExtraError, Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.table import Table, as_csv, as_text, columns_of, readable


def open_xlsx(file: ClaimedFile, stream: io.BufferedReader) -> Table:
    """The first sheet; its first row that is not empty is the header."""
    try:
        import openpyxl
    except ImportError:
        raise MissingExtraError("openpyxl", "formats") from None
    with readable(file), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about styles and extensions, which say nothing about the rows
        sheets = openpyxl.load_workbook(stream, read_only=True, data_only=True).worksheets
    if not sheets:
        raise Reject(f"{file.name} has no sheet with cells")
    total = sheets[0].max_row
    sheets[0].reset_dimensions()  # some programs write wrong ones, and columns would be missing
    rows = _filled(file, sheets[0].iter_rows(values_only=True))
    names: list[Any] = next(rows, (0, []))[1]

    def texts() -> Iterator[list[str | None]]:
        for number, row in rows:
            if len(row) > len(names):
                raise Reject(f"{file.name}, row {number}: {len(row)} cells under a header of {len(names)}")
            yield [as_text(value) for value in row] + [None] * (len(names) - len(row))

    return Table(columns=columns_of(file, names), blocks=as_csv(file, texts(), total))


def _filled(file: ClaimedFile, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, list[Any]]]:
    """The rows that hold anything, with their numbers, without the empty cells at their ends."""
    with readable(file):
        for number, cells in enumerate(rows, 1):
            row = list(cells)
            while row and row[-1] is None:
                row.pop()
            if row:
                yield number, row
