"""A table that was read from a file: its columns, and its rows as COPY takes them."""

from __future__ import annotations

import contextlib
import datetime
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK

ROWS_PER_BLOCK = 4096
MOST_COLUMNS = 1599  # PostgreSQL's 1600, less _file_id
_LONGEST_NAME = 63
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


def columns_of(file: ClaimedFile, names: Iterable[object], types: Iterable[str] | None = None) -> dict[str, str]:
    unique = unique_names(names)
    if not unique:
        raise Reject(f"{file.name} has no columns")
    if len(unique) > MOST_COLUMNS:
        raise Reject(f"{file.name} has more columns than a table can have, {MOST_COLUMNS}")
    return dict(zip(unique, types or ["text"] * len(unique), strict=True))


class Written(float):
    """A number that remembers how it was written: 1.10 stays 1.10."""

    text: str

    def __new__(cls, text: str) -> Written:
        number = super().__new__(cls, text)
        number.text = text
        return number


_ENCODER = json.JSONEncoder(default=str)


@contextlib.contextmanager
def readable(file: ClaimedFile) -> Iterator[None]:
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


def as_csv(file: ClaimedFile, rows: Iterable[list[str | None]], total: int | None) -> Iterator[bytes]:
    """Rows as CSV in blocks: text is always quoted, so that an empty field is NULL."""
    lines: list[str] = []
    size = 0
    for done, row in enumerate(rows, 1):
        line = ",".join("" if value is None else '"' + value.replace('"', '""') + '"' for value in row)
        lines.append(line)
        size += len(line)
        if len(lines) == ROWS_PER_BLOCK or size > BLOCK:
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


def as_text(value: Any) -> str | None:
    """A scalar as text: numbers as they are written, times in ISO 8601."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Written):
        return value.text
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def as_json(value: Any) -> str | None:
    """A value as JSON; numbers that JSON does not know (NaN) become text."""
    if value is None:
        return None
    text = _ENCODER.encode(value)
    if "NaN" in text or "Infinity" in text:
        text = _ENCODER.encode(json.loads(text, parse_constant=str))
    return text
