"""What kind of file it is, by its first bytes and its name."""

from __future__ import annotations

import re
from pathlib import PurePath

BLOCK = 1 << 20
_BY_MAGIC = {
    b"PAR1": "parquet",
    b"\x1f\x8b": "gzip",
    b"\x89PNG\r\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"\xfd7zXZ\0": "xz",
    b"(\xb5/\xfd": "zstd",
    b"ARROW1": "arrow",
    b"SQLite format 3\0": "sqlite",
    b"\xd0\xcf\x11\xe0": "xls",
}
_BY_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"}
_TEXT = bytes({7, 8, 9, 10, 12, 13, 27} | set(range(0x20, 0x100)) - {0x7F})
_WORKBOOK = re.compile(rb"xl/(workbook|worksheets|_rels|theme|styles|sharedStrings)")


def kind_of(head: bytes, name: str) -> str:
    """What a file is, by its first block, then by its name: "csv", "parquet", …, "text", "binary" or "empty"."""
    if not head:
        return "empty"
    if head.startswith(b"%PDF-"):
        return "pdf"
    if not head.translate(None, delete=_TEXT):
        return _BY_SUFFIX.get(PurePath(name).suffix.lower(), "text")
    if head.startswith(b"PK\x03\x04"):
        return "xlsx" if _WORKBOOK.search(head) else "zip"
    return next((kind for magic, kind in _BY_MAGIC.items() if head.startswith(magic)), "binary")
