"""What a file is that cannot be loaded, and what its uploader can do about it."""

from __future__ import annotations

import re
from pathlib import PurePath

from opskit.files.kinds import PACKED, inner_name

MARKUP = re.compile(rb"\s*<(?:!doctype|html|table|\?xml|meta|style)\b", re.I)
_LOADABLE = (
    "CSV, TSV and JSON lines (UTF-8, UTF-16 or what OPSKIT_TEXT_ENCODING names; also as .gz and .zst), Parquet and "
    "Excel (.xlsx, .xls, .xlsb, .ods)"
)
_WORKBOOKS = (".xlsx", ".xls", ".xlsb", ".xlsm", ".ods")


def refusal(name: str, kind: str, head: bytes, *, packed: bool = False) -> str:
    """The sentence for a file that no reader takes.

    Args:
        name: What to call it.
        kind: What it is by its bytes and its name.
        head: How it begins.
        packed: It was in a .gz or .zst file.
    """
    suffix = PurePath(inner_name(name)).suffix.lower()
    if packed and kind in ("parquet", "xlsx", "xls", "xlsb", "ods"):
        return f"{name} holds a file of the kind {kind}, which is packed within itself; upload it without .gz or .zst"
    if packed and kind in PACKED:
        return f"{name} is packed twice; unpack it once"
    if kind == "json":
        return f"{name} is of the kind json; write its objects as JSON lines, one on each line, into a .jsonl file"
    if kind == "text":
        return _text(name, suffix, head)
    if kind == "zip":
        what = "no workbook" if suffix in _WORKBOOKS else "no table"
        return f"{name} is a zip archive and {what}; unpack it, and upload each file in it by itself"
    if kind == "binary" and (said := _binary(name, head)):
        return said
    said = "empty" if kind == "empty" else f"of the kind {kind}"
    if kind == "binary" and b"\0" in head:
        said += " (it holds NUL bytes, which a text does not)"
    return f"{name} is {said}; {_LOADABLE} can be loaded"


def _text(name: str, suffix: str, head: bytes) -> str:
    if suffix == ".parquet" and head.startswith(b"PAR1"):
        return f"{name} is cut off: it begins as a Parquet file and does not end as one; upload it again"
    if suffix in _WORKBOOKS and MARKUP.match(head):
        return f"{name} is a page of HTML or XML and no workbook; open it in Excel or LibreOffice and save it as .xlsx"
    if suffix in (*_WORKBOOKS, ".parquet"):
        what = "Parquet file" if suffix == ".parquet" else "workbook"
        return f"{name} is a text and no {what}; if it is a table, name it .csv, .tsv or .jsonl"
    return f"{name} is of the kind text; if it is a table, name it .csv, .tsv or .jsonl"


def _binary(name: str, head: bytes) -> str:
    if head[257:262] == b"ustar":
        return f"{name} is a tar archive and no table; unpack it, and upload each file in it by itself"
    filled = head.rstrip(b"\0")
    if head.startswith(b"PARE"):
        return f"{name} is an encrypted Parquet file; upload it without encryption"
    if filled and len(filled) < len(head) - 1 and b"\0" not in filled:
        return f"{name} ends in NUL bytes, as a file does that was not written to its end; upload it again"
    if head.count(b"\0") * 3 > len(head):
        return (
            f"{name} is of the kind binary; if it is UTF-16 without a byte order mark, set encoding=utf-16-le, "
            "or save it as UTF-8"
        )
    return ""
