"""CSV: rows of text, its delimiter and its encoding."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK
from opskit.files.table import Table, columns_of

_END_MARK = re.compile(rb"[\r\n]\\\.(?=[\r\n])")


def open_csv(file: ClaimedFile, stream: io.BufferedReader, head: bytes, delimiter: str) -> Table:
    """Pass a CSV file through as it is; only its header is looked at."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
        first_line = text.lstrip("\r\n").partition("\n")[0]
        # Where the comma is the decimal sign, spreadsheets write semicolons.
        delimiter = delimiter or (";" if ";" in first_line and "," not in first_line else ",")
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise Reject(f"{file.name}, line {line}: not UTF-8 (byte 0x{head[error.start]:02x})") from error
    except csv.Error as error:
        raise Reject(f"{file.name}, line 1: the header cannot be read: {error}") from error
    if not any(name.strip() for name in names):
        raise Reject(f"{file.name}, line 1: there is no header")
    blocks = _trimmed(file, head.removeprefix(codecs.BOM_UTF8), stream)
    return Table(columns=columns_of(file, names), blocks=blocks, delimiter=delimiter, header=True)


def _trimmed(file: ClaimedFile, block: bytes, stream: io.BufferedReader) -> Iterator[bytes]:
    r"""The blocks of a CSV file without the empty lines at its end, which COPY takes for short rows.

    A line that is only `\.` is refused: before version 18, PostgreSQL ends there and says nothing.
    """
    held, before, quotes = b"", b"\n", 0
    while True:
        window = before + (block or b"\n")
        if b"\\." in window:
            for mark in _END_MARK.finditer(window):
                if (quotes + window.count(b'"', 0, mark.start())) % 2 == 0:
                    raise Reject(rf"{file.name} has a line that is only \., where PostgreSQL may stop reading")
        if not block:
            return
        before = window[-3:]
        quotes += window.count(b'"', 0, len(window) - len(before))
        body = block.rstrip(b"\r\n")
        if body:
            yield held + body
            held = b""
        held += block[len(body) :]
        if len(held) > BLOCK:
            yield held
            held = b""
        block = stream.read(BLOCK)
