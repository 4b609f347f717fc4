"""A CSV file's dialect: what stands between its fields, where its lines end, and where its header does."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from opskit.errors import Reject
from opskit.files.limits import LONGEST_HEADER, MOST_COLUMNS

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SAMPLE_ROWS = 200
EXCELS_HINT = re.compile(r'("?)sep=(.)\1(\r\n|\r|\n)', re.I)
_LINE = re.compile(r'(?:[^"\r\n]++|"[^"]*+")*+')
_QUOTED = re.compile(r'"[^"]*+"')
_NUMBER = re.compile(r"[\s+-]*[$€£¥%]?\s*\d[\d.,' \u00a0\u202f]*\s*[$€£¥%]?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: What stands between two fields.
        newline: What ends a line: "\\n", "\\r\\n" or "\\r".
        names: The header's fields.
        header_start: Where the header begins [bytes].
        hint_lines: How many lines stand before it.
    """

    delimiter: str
    newline: str
    names: list[str]
    header_start: int
    hint_lines: int


def dialect_of(name: str, text: str, *, whole: bool, delimiter: str, tabs: bool) -> Dialect:
    """Read the header, and find the delimiter by it and the rows after it.

    Args:
        name: What to call the file.
        text: The file's beginning, without a byte order mark.
        whole: That is all of it.
        delimiter: The delimiter, when it is known.
        tabs: It is a TSV file.

    Raises:
        Reject: There is no header, or it cannot be told what separates its fields.
    """
    hint = EXCELS_HINT.match(text)
    start = hint.end() if hint else 0
    end = _header_end(name, text, start, whole)
    header = text[start:end]
    newline = next((mark for mark in ("\r\n", "\r", "\n") if text.startswith(mark, end)), "\n")
    rows = _sample(text, start, whole)
    if not delimiter:
        delimiter = hint[2] if hint else "\t" if tabs and "\t" in header else _delimiter(name, header, rows)
    try:
        names = next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise Reject(f"{name}, line 1: the header cannot be read: {error}") from None
    if not any(field.strip() for field in names):
        raise Reject(f"{name}, line 1: there is no header")
    if len(names) > MOST_COLUMNS:
        raise Reject(f"{name} has more columns than a table can have, {MOST_COLUMNS}")
    return Dialect(
        delimiter=delimiter,
        newline=newline,
        names=names,
        header_start=len(text[:start].encode()),
        hint_lines=1 if hint else 0,
    )


def _header_end(name: str, text: str, start: int, whole: bool) -> int:
    found = _LINE.match(text, start)
    assert found is not None  # it matches nothing, too
    end = found.end()
    if end < len(text) and text[end] == '"':
        end = len(text)  # a quote that is never closed
        if whole:
            raise Reject(f"{name}, line 1: the header cannot be read: a quote in it is never closed")
    if (end >= len(text) and not whole) or end - start > LONGEST_HEADER:
        raise Reject(f"{name}, line 1: the header is longer than {LONGEST_HEADER >> 20} MB, or a quote in it is open")
    return end


def _sample(text: str, start: int, whole: bool) -> list[str]:
    """The first lines after the header, without one that may be cut off."""
    lines: list[str] = []
    at = start
    while len(lines) <= _SAMPLE_ROWS and at < len(text):
        found = _LINE.match(text, at)
        assert found is not None
        if (found.end() == len(text) and not whole) or text.startswith('"', found.end()):
            break
        if found[0].strip("\x1a"):
            lines.append(found[0])
        at = found.end() + (2 if text.startswith("\r\n", found.end()) else 1)
    return lines[1:]


def _delimiter(name: str, header: str, rows: Sequence[str]) -> str:
    """The delimiter that the header and the rows agree on.

    Raises:
        Reject: Two would do equally well, or the one that does cuts the header's words in two.
    """
    plain = _QUOTED.sub('""', header)
    present = [mark for mark in DELIMITERS if mark in plain]
    if not present:
        return ","
    if len(present) == 1:
        best = present[0]
    else:
        judged = sorted((_misfit(mark, present, header, rows), mark) for mark in present)
        if judged[0][0] == judged[1][0]:
            either = " or ".join(DELIMITERS[mark] for grade, mark in judged if grade == judged[0][0])
            raise Reject(
                f"{name}, line 1: {either} may separate its fields; put names that hold one into quotes, "
                "or write sep= and the delimiter on a line before the header"
            )
        best = judged[0][1]
    fields = plain.split(best)
    for opening, closing in zip("([{", ")]}", strict=True):
        cut = [field for field in fields if field.count(opening) != field.count(closing)]
        if len(cut) > 1 and plain.count(opening) == plain.count(closing):
            raise Reject(
                f"{name}, line 1: the {DELIMITERS[best]} cuts a name in two at {cut[0].strip()!r}; put names that "
                "hold one into quotes, or write sep= and the delimiter on a line before the header"
            )
    return best


def _misfit(mark: str, present: Sequence[str], header: str, rows: Sequence[str]) -> tuple[float, float]:
    """How badly a delimiter fits: rows of another width than the header, then other delimiters within cells."""
    lines = [_QUOTED.sub('""', line).split(mark) for line in (header, *rows)]
    ragged = sum(len(line) != len(lines[0]) for line in lines) / len(lines)
    cells = [cell for line in lines for cell in line]
    others = [other for other in present if other != mark]
    mixed = sum(sum(map(cell.count, others)) for cell in cells if not _NUMBER.fullmatch(cell))
    return ragged, mixed
