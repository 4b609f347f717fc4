"""A table that was read from a file: its columns, and its rows as COPY takes them."""

from __future__ import annotations

import contextlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK
from opskit.files.limits import MOST_COLUMNS
from opskit.files.sql_names import unique_names

ROWS_PER_BLOCK = 4096
_QUOTED_OR_END = re.compile(rb'"[^"]*+"|\n')


class LateColumnError(Exception):
    """A file has columns, or kinds of values, that its beginning did not show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A file's rows, ready for COPY.

    Attributes:
        columns: Name and PostgreSQL type of each, in the order of the fields: the type that a new column gets.
        blocks: Given the type of each column as it is, the rows as CSV, in blocks of any size. An empty field is
            NULL, a quoted one is text.
        delimiter: What stands between two fields.
        header: The first row of the blocks is the header.
        unit: What the file's rows are counted in: "line" or "row".
        place: Where in the file a row of the blocks stands, given its index. Defaults to the same place.
        locate: The same, given the line of the blocks as PostgreSQL counts them. Defaults to counting the rows.
        binary: Given the type of each column as it is, the rows as binary COPY takes them, or None when it cannot.
        whole: Reads all of the file for its columns; given where the blocks may raise `LateColumnError`.
        said: What was decided, for the result.
    """

    columns: dict[str, str]
    blocks: Callable[[Mapping[str, str]], Iterable[bytes]]
    delimiter: str = ","
    header: bool = False
    unit: str = "row"
    place: Callable[[int], int] | None = None
    locate: Callable[[int], int] | None = None
    binary: Callable[[Mapping[str, str]], Iterable[bytes] | None] | None = None
    whole: Callable[[], Table] | None = None
    said: dict[str, Any] = field(default_factory=dict)

    def where(self, line: int, types: Mapping[str, str], *, binary: bool) -> str:
        """Where in the file a line of the blocks stands, in words."""
        if self.locate:
            return f"{self.unit} {self.locate(line)}"
        row = line if binary else _row_of(self.blocks(types), line)
        return f"{self.unit} {self.place(row) if self.place else row}"


def _row_of(blocks: Iterable[bytes], line: int) -> int:
    """The index of the row, from 1, in which PostgreSQL found something, given the line that it names.

    Within quotes it counts the kind of line break that ends rows, but in the first row the other.
    """
    theirs = row = 1
    for block in blocks:
        for found in _QUOTED_OR_END.finditer(block):
            if found[0] != b"\n":
                theirs += found[0].count(b"\r" if row == 1 else b"\n")
            elif theirs >= line:
                return row
            else:
                theirs, row = theirs + 1, row + 1
    return row


def columns_of(file: ClaimedFile, names: Iterable[object], types: Iterable[str] | None = None) -> dict[str, str]:
    """The columns of a table: names that PostgreSQL takes, and their types; text when none are given.

    Raises:
        Reject: There are none, or too many.
    """
    wanted = list(names)
    if not wanted:
        raise Reject(f"{file.name} has no columns")
    if len(wanted) > MOST_COLUMNS:
        raise Reject(f"{file.name} has more columns than a table can have, {MOST_COLUMNS}")
    return dict(zip(unique_names(wanted), types or ["text"] * len(wanted), strict=True))


@contextlib.contextmanager
def readable(file: ClaimedFile, *broken: type[Exception], wrong: str = "cannot be read") -> Iterator[None]:
    """Tell a bad file, which is rejected, from storage that fails, which is tried again.

    Args:
        file: The claimed file.
        broken: Other errors that say that the file is bad.
        wrong: What to say of it then.
    """
    try:
        yield
    except broken as error:
        raise Reject(f"{file.name} {wrong}: {sentence(error)}") from None
    except MemoryError:
        raise Reject(f"{file.name} cannot be read: it needs more memory than there is") from None
    except OSError as error:
        # pyarrow reports broken pages as OSError without a number; the system's errors have one.
        if error.errno is not None:
            raise
        raise Reject(f"{file.name} {wrong}: {sentence(error)}") from None
    except (ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, SyntaxError) as error:
        raise Reject(f"{file.name} {wrong}: {sentence(error)}") from None
    except (TypeError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise Reject(f"{file.name} {wrong}: {sentence(error)}") from None


def sentence(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def quoted(text: str | None) -> str:
    """A field of CSV: text is always quoted, so that an empty field is NULL."""
    return "" if text is None else '"' + text.replace('"', '""') + '"'


def as_csv(file: ClaimedFile, rows: Iterable[Iterable[str]], total: int | None) -> Iterator[bytes]:
    """Rows of CSV fields in blocks."""
    lines: list[str] = []
    size = done = 0
    for done, row in enumerate(rows, 1):
        line = ",".join(row)
        lines.append(line)
        size += len(line)
        if len(lines) == ROWS_PER_BLOCK or size > BLOCK:
            yield _encoded(file, lines)
            file.progress(done, total)
            lines, size = [], 0
    if lines:
        yield _encoded(file, lines)
        file.progress(done, total)


def _encoded(file: ClaimedFile, lines: list[str]) -> bytes:
    try:
        return ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise Reject(f"{file.name} holds half a character (\\u{ord(error.object[error.start]):04x})") from None
