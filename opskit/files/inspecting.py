"""The processor `inspect_file`: reports a file's kind and size, and how many lines, rows or sheets it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from opskit.errors import MissingExtraError, Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.dialect import EXCELS_HINT
from opskit.files.formats.excel import count_xlsx
from opskit.files.kinds import BLOCK, PACKED, kind_of, mark_of
from opskit.files.line_count import FilledLineCount, LineCount
from opskit.files.text import as_utf8, blocks_of, unpacked

_TEXTS = ("csv", "tsv", "jsonl", "text")


def inspect_file(file: ClaimedFile) -> dict[str, Any]:
    """Inspect a file: its size, SHA-256 and kind, and how many rows or lines it has.

    The kind is told by the file's first bytes, then by its name. One pass, any size.

    Args:
        file: The claimed file.

    Returns:
        "size" [bytes], "sha256" (hex), "kind" ("csv", "parquet", "png", …, else "text", "binary" or "empty");
        "rows" for CSV and TSV (without the header; line breaks within quotes do not count), JSON lines and
        Excel (the first sheet that is not hidden, without the header): as many as `load_table` loads; "lines" for
        text. Of a .gz or .zst file that holds such a text "holds", its kind, and the same counts.

    Raises:
        Reject: It is a workbook that cannot be read.
        OSError: The storage cannot be read; the attempt fails and is tried again.
    """
    with file.open() as stream:
        head = stream.read(BLOCK)
        raw = _Digested(blocks_of(stream, head) if head else iter(()))
        kind = kind_of(head, file.name)
        found = _counted(file, kind, head, raw)
        for _ in raw:  # what was not counted is a part of the sum all the same
            pass
        if kind == "xlsx" and stream.seekable():
            found["rows"] = count_xlsx(file, stream)
    return {"size": raw.size, "sha256": raw.sum.hexdigest(), "kind": kind} | found


class _Digested:
    """A file's blocks; what passes is measured.

    Attributes:
        size: Bytes so far.
        sum: Their SHA-256.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.size, self.sum = 0, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = next(self._blocks)
        self.size += len(block)
        self.sum.update(block)
        return block


def _counted(file: ClaimedFile, kind: str, head: bytes, raw: Iterator[bytes]) -> dict[str, Any]:
    """The lines or rows of a text, packed or not; nothing for what cannot be read as one."""
    if kind not in (*_TEXTS, *PACKED):
        return {}
    blocks = raw
    try:
        if kind in PACKED:
            blocks = unpacked(file.name, kind, blocks)
            head = next(blocks, b"")
            blocks = _with(head, blocks)
            inner = kind_of(head[:BLOCK], file.name)
            if inner not in _TEXTS:
                return {}
            return {"holds": inner} | _count(file, inner, head, blocks)
        return _count(file, kind, head, blocks)
    except (Reject, MissingExtraError):
        return {}


def _with(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _count(file: ClaimedFile, kind: str, head: bytes, blocks: Iterator[bytes]) -> dict[str, Any]:
    if mark_of(head)[0]:
        blocks = as_utf8(file.name, "utf-8", blocks)
    if kind == "jsonl":
        objects = FilledLineCount()
        for block in blocks:
            objects.add(block)
        return {"rows": objects.filled}
    lines = LineCount(quotes=kind != "text")
    begins = b""
    for block in blocks:
        begins = begins or block[:12]
        lines.add(block)
    if kind == "text":
        return {"lines": lines.all}
    # Excel's own first line says what separates the fields.
    hint = EXCELS_HINT.match(begins.decode("utf-8", "ignore")) is not None
    return {"rows": max(lines.filled - 1 - hint, 0)}
