"""What kind of file it is, by its first bytes and its name."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath

BLOCK = 1 << 20
# Of these no text begins so: they hold bytes that are no UTF-8, or control characters.
_BY_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x89PNG\r\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"\xfd7zXZ\0": "xz",
    b"(\xb5/\xfd": "zstd",
    b"SQLite format 3\0": "sqlite",
    b"\xd0\xcf\x11\xe0": "xls",
    b"PK\x03\x04": "zip",
    **{bytes([0x50 + number]) + b"*M\x18": "zstd" for number in range(16)},  # frames to be skipped come before others
}
_BY_WORD = {b"PAR1": "parquet", b"GIF8": "gif", b"ARROW1": "arrow"}
_BY_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}
_PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_TEXT = bytes({7, 8, 9, 10, 11, 12, 13, 27} | set(range(0x20, 0x100)) - {0x7F})
_WORKBOOK = re.compile(rb"xl/(workbook|worksheets|_rels|theme|styles|sharedStrings)")
_BINARY_WORKBOOK = re.compile(rb"xl/(workbook|worksheets/sheet\d+)\.bin")
_OPEN_DOCUMENT = b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
# The longer ones first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PACKED = ("gzip", "zstd")
"""The kinds that hold one other file."""


def mark_of(head: bytes) -> tuple[bytes, str]:
    """The byte order mark that a text begins with, and the encoding that it names; empty when there is none."""
    return next((found for found in _MARKS if head.startswith(found[0])), (b"", ""))


def inner_name(name: str) -> str:
    """The name of what a packed file holds: sales.csv for sales.csv.gz."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in _PACKED_SUFFIXES else name


def kind_of(head: bytes, name: str) -> str:
    """What a file is, by its first block, then by its name: "csv", "parquet", …, "text", "binary" or "empty"."""
    if not head:
        return "empty"
    if head.startswith((b"%PDF-", rb"{\rtf")):  # no text begins so, though all of it may be one
        return "pdf" if head.startswith(b"%") else "rtf"
    by_name = _BY_SUFFIX.get(PurePath(inner_name(name)).suffix.lower())
    mark, encoding = mark_of(head)
    if mark and encoding != "utf-8" and len(head) % 2 == 0:
        return by_name or "text"
    for magic, kind in _BY_MAGIC.items():
        if head.startswith(magic):
            return _archive(head, name) if kind == "zip" else kind
    # DOS ends a text with Ctrl-Z. A table may hold any other control character but NUL.
    odd = head.removesuffix(b"\x1a").translate(None, delete=_TEXT)
    if not odd:
        return by_name or "text"
    if word := next((kind for magic, kind in _BY_WORD.items() if head.startswith(magic)), None):
        return word
    return by_name if by_name and b"\0" not in odd else "binary"


def _archive(head: bytes, name: str) -> str:
    if _BINARY_WORKBOOK.search(head):
        return "xlsb"
    if _WORKBOOK.search(head):
        return "xlsx"
    # One that was packed again by hand may say it later, and compressed.
    is_open = _OPEN_DOCUMENT in head[:256] or PurePath(name).suffix.lower() == ".ods"
    return "ods" if is_open else "zip"
