"""Readers: what a file is by its bytes and name, and its rows as PostgreSQL's COPY takes them.

Every reader answers a `Table`: columns, and blocks of CSV in which an empty field is NULL and a quoted one
is text. CSV files pass through as they are; the others are turned into it, a block at a time.
"""

from __future__ import annotations

import codecs
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.csv import open_csv
from opskit.files.formats.excel import open_xlsx
from opskit.files.formats.json_lines import open_jsonl
from opskit.files.formats.parquet import open_parquet
from opskit.files.formats.spreadsheet import open_spreadsheet
from opskit.files.kinds import BLOCK, PACKED, kind_of
from opskit.files.refusals import refusal
from opskit.files.table import Table
from opskit.files.text import as_utf8, blocks_of, unpacked

_TEXTS = ("csv", "tsv", "jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How a file is to be read.

    Attributes:
        delimiter: What separates a CSV file's fields. Defaults to what its header and rows say.
        encoding: A text's encoding, when it has no byte order mark. Defaults to the node's setting.
        sheet: A workbook's sheet. Defaults to the first that is not hidden.
    """

    delimiter: str = ""
    encoding: str = ""
    sheet: str = ""


@contextlib.contextmanager
def open_table(file: ClaimedFile, reading: Reading | None = None) -> Iterator[Table]:
    """Open a file as a table; its blocks can be read once, while it is open.

    Raises:
        Reject: It is no table, or cannot be read as the one that it seems to be.
        MissingExtraError: The package that reads it is not installed.
    """
    reading = reading or Reading()
    with file.open() as stream:
        head = stream.read(BLOCK)
        begin, kind = head, kind_of(head, file.name)
        packing = kind if kind in PACKED else ""
        if packing:
            begin = next(unpacked(file.name, packing, blocks_of(stream, head)), b"")[:BLOCK]
            kind = kind_of(begin, file.name)
            stream.seek(0)
            head = b""
        if kind == "binary":
            kind = kind_of(_as_named(begin, reading.encoding or file.text_encoding), file.name)
        if kind in _TEXTS:
            yield _open_text(file, stream, head, kind, packing, reading)
        elif packing or kind not in ("parquet", "xlsx", "xls", "xlsb", "ods"):
            raise Reject(refusal(file.name, kind, begin, packed=bool(packing)))
        else:
            stream.seek(0)
            if kind == "parquet":
                yield open_parquet(file, stream)
            elif kind == "xlsx":
                yield open_xlsx(file, stream, sheet=reading.sheet)
            else:
                with open_spreadsheet(file, stream, sheet=reading.sheet) as table:
                    yield table


def _as_named(begin: bytes, encoding: str) -> bytes:
    """A text's beginning as UTF-8, where its encoding is named and is one that has NUL bytes."""
    name = codecs.lookup(encoding).name
    return begin.decode(name, "ignore").encode("utf-8", "ignore") if name[:6] in ("utf-16", "utf-32") else begin


def _open_text(
    file: ClaimedFile, stream: io.BufferedReader, head: bytes, kind: str, packing: str, reading: Reading
) -> Table:
    encoding = reading.encoding or file.text_encoding

    def text(source: io.BufferedReader, begun: bytes = b"") -> Iterator[bytes]:
        return as_utf8(file.name, encoding, unpacked(file.name, packing, blocks_of(source, begun)))

    def again() -> Iterator[bytes]:
        with file.open() as other:
            yield from text(other)

    if kind == "jsonl":
        return open_jsonl(file, again)
    return open_csv(file, text(stream, head), again, delimiter=reading.delimiter, tabs=kind == "tsv")
