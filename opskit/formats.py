"""Formats: what a file is by its bytes and name, and its rows as PostgreSQL's COPY takes them.

Every reader answers a `Table`: columns, and blocks of CSV in which an empty field is NULL and a quoted one
is text. CSV files pass through as they are; the others are turned into it, a block at a time.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import datetime
import io
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from opskit.errors import MissingExtraError, Reject
from opskit.files import ClaimedFile

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 20
_ROWS_PER_BLOCK = 4096
_LONGEST_LINE = 1 << 26
_LOADABLE = "CSV, TSV, JSON lines (all UTF-8), Parquet and Excel (.xlsx)"
_MOST_COLUMNS = 1599  # PostgreSQL's 1600, less _file_id
_LONGEST_NAME = 63

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
_END_MARK = re.compile(rb"[\r\n]\\\.(?=[\r\n])")
_WORKBOOK = re.compile(rb"xl/(workbook|worksheets|_rels|theme|styles|sharedStrings)")

# Names that a column of ours cannot have: PostgreSQL's own columns, and the one that load_table adds.
_TAKEN = ("_file_id", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A file's rows, ready for COPY.

    Attributes:
        columns: Name and PostgreSQL type of each, in the order of the fields.
        blocks: The rows as CSV, in blocks of any size.
        delimiter: What stands between two fields.
        header: The first line of the blocks is the header.
    """

    columns: dict[str, str]
    blocks: Iterable[bytes]
    delimiter: str = ","
    header: bool = False


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


@contextlib.contextmanager
def open_table(file: ClaimedFile) -> Iterator[Table]:
    """Open a file as a table; its blocks can be read once, while it is open.

    Raises:
        Reject: It is no table, or cannot be read as the one that it seems to be.
        MissingExtraError: The package that reads it is not installed.
    """
    with file.open() as stream:
        head = stream.read(BLOCK)
        kind = kind_of(head, file.name)
        if kind not in _READERS:
            said = "empty" if kind == "empty" else f"of the kind {kind}"
            raise Reject(f"{file.name} is {said}; {_LOADABLE} can be loaded")
        if kind in ("csv", "tsv"):
            yield _open_csv(file, stream, head, "\t" if kind == "tsv" else "")
        else:
            stream.seek(0)
            yield _READERS[kind](file, stream)


def unique_names(wanted: Iterable[object]) -> list[str]:
    """Column names that PostgreSQL takes: none empty, none twice, at most 63 bytes each."""
    taken, names = set(_TAKEN), []
    for number, want in enumerate(wanted, 1):
        given = "" if want is None else str(want).replace("\0", "").strip()
        base = name = _cut(given or f"column_{number}", _LONGEST_NAME)
        again = 1
        while name in taken:
            again += 1
            name = _cut(base, _LONGEST_NAME - len(f"_{again}")) + f"_{again}"
        taken.add(name)
        names.append(name)
    return names


def _cut(name: str, most_bytes: int) -> str:
    return name.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")


def _columns(file: ClaimedFile, names: Iterable[object], types: Iterable[str] | None = None) -> dict[str, str]:
    unique = unique_names(names)
    if not unique:
        raise Reject(f"{file.name} has no columns")
    if len(unique) > _MOST_COLUMNS:
        raise Reject(f"{file.name} has more columns than a table can have, {_MOST_COLUMNS}")
    return dict(zip(unique, types or ["text"] * len(unique), strict=True))


# -- CSV and TSV -----------------------------------------------------------------------------


def _open_csv(file: ClaimedFile, stream: io.BufferedReader, head: bytes, delimiter: str) -> Table:
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
    return Table(columns=_columns(file, names), blocks=blocks, delimiter=delimiter, header=True)


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


# -- JSON lines ------------------------------------------------------------------------------


class _Written(float):
    """A number that remembers how it was written: 1.10 stays 1.10."""

    text: str

    def __new__(cls, text: str) -> _Written:
        number = super().__new__(cls, text)
        number.text = text
        return number


_ENCODER = json.JSONEncoder(default=str)
_DECODER = json.JSONDecoder(parse_float=_Written, parse_constant=str)


def _open_jsonl(file: ClaimedFile, stream: io.BufferedReader) -> Table:
    """Look through the file for its keys; text columns, jsonb where a value is an object or a list."""
    keys: dict[str, str] = {}
    count = 0
    for record in _records(file, stream):
        count += 1
        for key, value in record.items():
            if isinstance(value, (dict, list)):
                keys[key] = "jsonb"
            else:
                keys.setdefault(key, "text")
        if len(keys) > _MOST_COLUMNS:
            break

    def rows() -> Iterator[list[str | None]]:
        with file.open() as again:
            for record in _records(file, again):
                yield [_as_json(record.get(key)) if nested else _as_text(record.get(key)) for key, nested in layout]

    columns = _columns(file, keys, keys.values())
    layout = [(key, kind == "jsonb") for key, kind in keys.items()]
    return Table(columns=columns, blocks=_as_csv(file, rows(), count))


def _records(file: ClaimedFile, stream: io.BufferedReader) -> Iterator[dict[str, Any]]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise Reject(f"{file.name}, line {number}: longer than {_LONGEST_LINE >> 20} MB")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            record = _DECODER.decode(text) if text.strip() else None
        except (ValueError, RecursionError) as error:
            raise Reject(f"{file.name}, line {number}: {error}") from error
        if isinstance(record, dict):
            yield record
        elif text.strip():
            raise Reject(f"{file.name}, line {number}: not a JSON object")


# -- Excel -----------------------------------------------------------------------------------


def _open_xlsx(file: ClaimedFile, stream: io.BufferedReader) -> Table:
    """The first sheet; its first row that is not empty is the header."""
    try:
        import openpyxl
    except ImportError:
        raise MissingExtraError("openpyxl", "formats") from None
    with _readable(file), warnings.catch_warnings():
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
            yield [_as_text(value) for value in row] + [None] * (len(names) - len(row))

    return Table(columns=_columns(file, names), blocks=_as_csv(file, texts(), total))


def _filled(file: ClaimedFile, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, list[Any]]]:
    """The rows that hold anything, with their numbers, without the empty cells at their ends."""
    with _readable(file):
        for number, cells in enumerate(rows, 1):
            row = list(cells)
            while row and row[-1] is None:
                row.pop()
            if row:
                yield number, row


# -- Parquet ---------------------------------------------------------------------------------


def _open_parquet(file: ClaimedFile, stream: io.BufferedReader) -> Table:
    """Typed columns; read in batches, so that a row group of any size fits."""
    try:
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "formats") from None
    with _readable(file):
        source = pyarrow.parquet.ParquetFile(stream, buffer_size=BLOCK)
        schema = source.schema_arrow
    types = [_sql_type(field.type) for field in schema]

    def blocks() -> Iterator[bytes]:
        options = pyarrow.csv.WriteOptions(include_header=False)
        done = 0
        with _readable(file):
            for batch in source.iter_batches(_ROWS_PER_BLOCK, use_threads=False):
                arrays = [_as_written(array, kind) for array, kind in zip(batch.columns, types, strict=True)]
                target = io.BytesIO()
                pyarrow.csv.write_csv(pyarrow.table(arrays, names=list(columns)), target, options)
                yield target.getvalue()
                done += len(batch)
                file.progress(done, source.metadata.num_rows)

    columns = _columns(file, schema.names, types)
    return Table(columns=columns, blocks=blocks())


def _sql_type(kind: pa.DataType) -> str:
    from pyarrow import types as is_

    if is_.is_dictionary(kind):
        return _sql_type(kind.value_type)
    if is_.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    tests: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (is_.is_boolean, "boolean"),
        (is_.is_uint64, "numeric"),
        (is_.is_integer, "bigint"),
        (is_.is_floating, "double precision"),
        (is_.is_decimal, "numeric"),
        (is_.is_date, "date"),
        (is_.is_time, "time"),
        (is_.is_nested, "jsonb"),
        (is_.is_binary, "bytea"),
        (is_.is_large_binary, "bytea"),
        (is_.is_fixed_size_binary, "bytea"),
    )
    return next((name for test, name in tests if test(kind)), "text")


def _as_written(array: pa.Array, kind: str) -> pa.Array:
    """A column as pyarrow can write it to CSV and PostgreSQL can read it."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind == "jsonb":
        return pa.array([_as_json(value) for value in array.to_pylist()], pa.string())
    if kind == "bytea":
        return pa.array([None if value is None else rf"\x{value.hex()}" for value in array.to_pylist()], pa.string())
    if pa.types.is_float16(array.type):
        return array.cast(pa.float32())
    if kind == "text" and not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return pa.array([_as_text(value) for value in array.to_pylist()], pa.string())
    return array


# -- what the readers share ------------------------------------------------------------------

_READERS: dict[str, Callable[..., Table]] = {
    "csv": _open_csv,
    "tsv": _open_csv,
    "jsonl": _open_jsonl,
    "xlsx": _open_xlsx,
    "parquet": _open_parquet,
}


@contextlib.contextmanager
def _readable(file: ClaimedFile) -> Iterator[None]:
    """Tell a bad file, which is rejected, from storage that fails, which is tried again."""
    try:
        yield
    except OSError as error:
        # pyarrow reports broken pages as OSError without a number; the system's errors have one.
        if error.errno is not None:
            raise
        raise Reject(f"{file.name} cannot be read: {_sentence(error)}") from error
    except (ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, SyntaxError) as error:
        raise Reject(f"{file.name} cannot be read: {_sentence(error)}") from error
    except (TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise Reject(f"{file.name} cannot be read: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _as_csv(file: ClaimedFile, rows: Iterable[list[str | None]], total: int | None) -> Iterator[bytes]:
    """Rows as CSV in blocks: text is always quoted, so that an empty field is NULL."""
    lines: list[str] = []
    size = 0
    for done, row in enumerate(rows, 1):
        line = ",".join("" if value is None else '"' + value.replace('"', '""') + '"' for value in row)
        lines.append(line)
        size += len(line)
        if len(lines) == _ROWS_PER_BLOCK or size > BLOCK:
            yield _encoded(file, lines)
            file.progress(done, total)
            lines, size = [], 0
    if lines:
        yield _encoded(file, lines)


def _encoded(file: ClaimedFile, lines: list[str]) -> bytes:
    try:
        return ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise Reject(f"{file.name} holds half a character (\\u{ord(error.object[error.start]):04x})") from error


def _as_text(value: Any) -> str | None:
    """A scalar as text: numbers as they are written, times in ISO 8601."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Written):
        return value.text
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _as_json(value: Any) -> str | None:
    """A value as JSON; numbers that JSON does not know (NaN) become text."""
    if value is None:
        return None
    text = _ENCODER.encode(value)
    if "NaN" in text or "Infinity" in text:
        text = _ENCODER.encode(json.loads(text, parse_constant=str))
    return text
