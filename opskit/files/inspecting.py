"""The processor `inspect_file`: what a file is, its size, and how many lines, rows or sheets it has."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import zipfile
import zlib
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import psycopg

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK, kind_of

if TYPE_CHECKING:
    Connection = psycopg.Connection[dict[str, Any]]

_NEITHER_QUOTE_NOR_NEWLINE = bytes(set(range(256)) - set(b'"\n'))
_SHEET_ROW = re.compile(rb"<(?:\w+:)?row(?:\s[^>]*)?(?<!/)>")


def inspect_file(file: ClaimedFile) -> dict[str, Any]:
    """Look at a file: its size, SHA-256 and kind, and how many rows or lines it has.

    The kind is told by the file's first bytes, then by its name. One pass, any size.

    Args:
        file: The claimed file.

    Returns:
        "size" [bytes], "sha256" (hex), "kind" ("csv", "parquet", "png", …, else "text", "binary" or "empty");
        "rows" for CSV and TSV (without the header; line breaks within quotes do not count), JSON lines and
        Excel (first sheet, without the header); "lines" for text.

    Raises:
        OSError: The storage cannot be read; the attempt fails and is tried again.
    """
    with file.open() as stream:
        block = stream.read(BLOCK)
        kind = kind_of(block, file.name)
        digest, size = hashlib.sha256(), 0
        lines = _LineCount(quotes=kind in ("csv", "tsv"))
        counted = kind in ("csv", "tsv", "jsonl", "text")
        while block:
            size += len(block)
            digest.update(block)
            if counted:
                lines.add(block)
            block = stream.read(BLOCK)
        found: dict[str, Any] = {"size": size, "sha256": digest.hexdigest(), "kind": kind}
        if kind == "text":
            found["lines"] = lines.all
        elif kind == "jsonl":
            found["rows"] = lines.filled
        elif counted:
            found["rows"] = max(lines.filled - 1, 0)
        elif kind == "xlsx" and stream.seekable():
            found["rows"] = _sheet_rows(file, stream)
    return found


class _LineCount:
    """Counts lines, block by block; line breaks within double quotes are part of their line.

    Attributes:
        all: Lines, the last one too if it has no line break.
        filled: The same without the empty lines at the end of the file.
    """

    def __init__(self, *, quotes: bool) -> None:
        self._quotes, self._inside = quotes, False
        self._passed = self._pending = 0
        self._open = self._any = False

    @property
    def all(self) -> int:
        return self._passed + self._pending + self._open

    @property
    def filled(self) -> int:
        return self._passed + self._any

    def add(self, block: bytes) -> None:
        body = block.rstrip(b"\r\n")
        if body:
            self._any = True
            self._passed += self._pending + self._breaks(body)
            self._pending = 0
        if not self._inside:
            self._pending += block.count(b"\n", len(body))
        self._open = not block.endswith(b"\n")

    def _breaks(self, block: bytes) -> int:
        if not self._quotes or not (self._inside or b'"' in block):
            return block.count(b"\n")
        # Quotes side by side cancel out. What is left is short, and every second piece of it is quoted;
        # splitting the block itself is ten times slower where every field is quoted.
        marks = block.translate(None, delete=_NEITHER_QUOTE_NOR_NEWLINE).replace(b'""', b"")
        pieces = marks.split(b'"')
        breaks = sum(map(len, pieces[self._inside :: 2]))
        self._inside ^= len(pieces) % 2 == 0
        return breaks


def _sheet_rows(file: ClaimedFile, stream: io.BufferedReader) -> int:
    """Rows of a workbook's first sheet, without the header; read as a stream, with nothing but zip and XML."""
    try:
        with zipfile.ZipFile(stream) as book:
            relations = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
            targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
            sheets = (tag for tag in ElementTree.fromstring(book.read("xl/workbook.xml")).iter())
            first = next(tag for tag in sheets if tag.tag.endswith("}sheet"))
            id = next(value for key, value in first.items() if key.endswith("}id"))
            rows, rest = 0, b""
            with book.open(posixpath.join("/xl", targets[id]).lstrip("/")) as sheet:
                while block := sheet.read(BLOCK):
                    block = rest + block
                    cut = max(block.rfind(b"<"), 0)
                    rows += len(_SHEET_ROW.findall(block, 0, cut))
                    rest = block[cut:]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise Reject(f"{file.name} is a broken workbook: {error}") from error
    except (ElementTree.ParseError, LookupError, StopIteration) as error:
        raise Reject(f"{file.name} is a broken workbook: {error}") from error
    return max(rows - 1, 0)
