"""The preview of a file: its first rows, its first lines or its picture, of bounded size.

Whoever uploads a file may mean ill. So nothing here reads a whole file but a small one, unpacks more than is said, or
runs anything: a workbook's and a Parquet file's own directory says how large they become before they are read.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opskit.errors import MissingExtraError, OpskitError, Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.excel import open_xlsx
from opskit.files.kinds import kind_of, mark_of

ROWS, COLUMNS, CELL, LINES = 50, 50, 300, 200
"""Most rows, columns, letters of a cell, and lines of a text."""
HEAD_BYTES = 1 << 18
"""What is read of a file whose beginning is enough."""
WHOLE_BYTES = 1 << 23
"""The largest file that is read whole: a picture, a workbook, a Parquet file."""
UNPACKED_BYTES = 1 << 26
"""Most bytes that a workbook or the first part of a Parquet file may become."""
PICTURES = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """The preview of a file: rows, a text or a picture; or nothing, and why.

    Attributes:
        kind: What the file is: "csv", "parquet", "png", …, "text", "binary" or "empty".
        columns, rows: A table's.
        text: A text's.
        picture, mime: A picture's bytes and their type.
        more: Whether the file goes on.
        why_not: Why nothing is shown; "" when something is.
    """

    kind: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    text: str = ""
    picture: bytes = b""
    mime: str = ""
    more: bool = False
    why_not: str = ""


def preview(file: ClaimedFile) -> Preview:
    """Preview a file. `why_not` says why it cannot be read; no error is raised."""
    try:
        with file.open() as stream:
            head = stream.read(HEAD_BYTES)
            kind = kind_of(head, file.name)
            return _of_kind(file, kind, head, stream, more=len(head) == HEAD_BYTES)
    except FileNotFoundError:
        return Preview(kind="missing", why_not="the storage has no such file")
    except (OpskitError, Reject, OSError) as error:
        said = (error.strerror if isinstance(error, OSError) else "") or str(error)
        return Preview(kind="unreadable", why_not=said)
    except Exception as error:  # fsspec's libraries and parsers raise what they like
        return Preview(kind="unreadable", why_not=f"it cannot be read: {type(error).__name__}")


def _of_kind(file: ClaimedFile, kind: str, head: bytes, stream: io.BufferedReader, *, more: bool) -> Preview:
    if kind == "empty":
        return Preview(kind=kind, why_not="the file is empty")
    if kind in ("csv", "tsv"):
        return _separated(kind, _decoded(file, head, more=more), more=more)
    if kind == "jsonl":
        return _records(_decoded(file, head, more=more), more=more)
    if kind in ("text", "json"):
        return _text(kind, _decoded(file, head, more=more), more=more)
    if kind not in (*PICTURES, "xlsx", "parquet"):
        return Preview(kind=kind, why_not=f"a file of the kind {kind} is not shown")
    whole = head + stream.read(WHOLE_BYTES - len(head) + 1) if more else head
    if len(whole) > WHOLE_BYTES:
        return Preview(kind=kind, why_not=f"only files up to {WHOLE_BYTES >> 20} MB of the kind {kind} are shown")
    if kind in PICTURES:
        return Preview(kind=kind, picture=whole, mime=PICTURES[kind])
    return _workbook(file, whole) if kind == "xlsx" else _parquet(whole)


def _separated(kind: str, text: str, *, more: bool) -> Preview:
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = "\t" if kind == "tsv" else ";" if ";" in first and "," not in first else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[list[str]] = []
    # A field that is longer than the reader takes, or a NUL, ends what is shown.
    with contextlib.suppress(csv.Error):
        found.extend(itertools.islice(filter(None, lines), ROWS + 2))
    return _table(kind, found, more=more)


def _records(text: str, *, more: bool) -> Preview:
    found: list[dict[str, Any]] = []
    for line in itertools.islice(text.splitlines(), ROWS + 1):
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict):
                found.append(record)
    if not found:
        return _text("jsonl", text, more=more)
    names = list(dict.fromkeys(name for record in found for name in record))
    return _table("jsonl", [names, *([record.get(name, "") for name in names] for record in found)], more=more)


def _text(kind: str, text: str, *, more: bool) -> Preview:
    lines = text.splitlines()
    cut = [line if len(line) <= 10 * CELL else line[: 10 * CELL] + " …" for line in lines[:LINES]]
    return Preview(kind=kind, text="\n".join(cut), more=more or len(lines) > LINES)


def _workbook(file: ClaimedFile, whole: bytes) -> Preview:
    with zipfile.ZipFile(io.BytesIO(whole)) as book:
        if sum(part.file_size for part in book.infolist()) > UNPACKED_BYTES:
            return Preview(kind="xlsx", why_not=f"unpacked it has more than {UNPACKED_BYTES >> 20} MB")
    table = open_xlsx(file, io.BytesIO(whole))
    block = next(iter(table.blocks(table.columns)), b"").decode("utf-8", "replace")
    rows = itertools.islice(csv.reader(io.StringIO(block, newline="")), ROWS + 1)
    return _table("xlsx", [list(table.columns), *rows], more=False)


def _parquet(whole: bytes) -> Preview:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "formats") from None
    source = pyarrow.parquet.ParquetFile(io.BytesIO(whole))
    names = source.schema_arrow.names[:COLUMNS]
    if source.metadata.num_row_groups and source.metadata.row_group(0).total_byte_size > UNPACKED_BYTES:
        return Preview(kind="parquet", why_not=f"its first part has more than {UNPACKED_BYTES >> 20} MB")
    batch = next(source.iter_batches(ROWS, columns=names, use_threads=False), None)
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True) if batch is not None else ()
    return _table("parquet", [names, *rows], more=source.metadata.num_rows > ROWS)


def _table(kind: str, rows: Iterable[Iterable[Any]], *, more: bool) -> Preview:
    lines: Iterator[Iterable[Any]] = iter(rows)
    names = [_cell(name) for name in itertools.islice(next(lines, ()), COLUMNS)]
    body = [[_cell(value) for value in itertools.islice(line, COLUMNS)] for line in lines]
    width = max([len(names), *map(len, body[:ROWS])])
    named = [name or f"column {number}" for number, name in enumerate([*names, *[""] * (width - len(names))], 1)]
    unique = [name if named.index(name) == place else f"{name} ({place + 1})" for place, name in enumerate(named)]
    filled = ((*line, *[""] * (width - len(line))) for line in body[:ROWS])
    return Preview(kind=kind, columns=tuple(unique), rows=tuple(filled), more=more or len(body) > ROWS)


def _decoded(file: ClaimedFile, head: bytes, *, more: bool) -> str:
    """A file's beginning as text, without the line that was cut off."""
    mark, encoding = mark_of(head)
    text = head[len(mark) :].decode(encoding or file.text_encoding or "utf-8", "replace")
    return text[: text.rfind("\n") + 1] or text if more else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    text = json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= CELL else text[:CELL] + " …"
