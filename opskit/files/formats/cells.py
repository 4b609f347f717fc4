"""Values of a workbook's cells as fields of CSV, with the digits that are in the file."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable

from opskit.errors import Reject
from opskit.files.formats.workbook import Workbook
from opskit.files.limits import MOST_SHEET_COLUMNS, MOST_SHEET_ROWS

_OF_NUMBERS = b"0123456789+-.eE"
_WHOLE = re.compile(rb"-?\d+")


class Cells:
    """What the cells of a sheet hold.

    Attributes:
        said: What was met, for the result: how many cells hold an error, how many a formula that its writer has not
            calculated.
    """

    def __init__(self, name: str, book: Workbook, *, strict: bool = True) -> None:
        self._name, self._book, self._strict = name, book, strict
        self.dated = functools.lru_cache(1 << 16)(self._as_date)
        self.said: dict[str, int] = {}

    def check_row(self, number: int, before: int) -> None:
        """Refuse a row that no sheet has, or that comes before one that has been read."""
        if not before < number <= MOST_SHEET_ROWS:
            why = "stands twice, or after a later one" if number <= before else f"; a sheet has {MOST_SHEET_ROWS}"
            raise Reject(f"{self._name}, row {number}{' ' if number <= before else ''}{why}")

    def column(self, number: int, letters: str) -> int:
        """The place of a column, from 0, given its letters."""
        place = functools.reduce(lambda so_far, letter: so_far * 26 + ord(letter) - 64, letters, 0) - 1
        if place >= MOST_SHEET_COLUMNS:
            self.too_wide(number)
        return place

    def too_wide(self, number: int) -> None:
        """Refuse a row of more cells than a sheet has columns."""
        raise Reject(f"{self._name}, row {number}: more cells than a sheet has columns, {MOST_SHEET_COLUMNS}")

    def value(
        self, number: int, style: bytes, kind: bytes, formula: bytes, value: bytes, quoted: Callable[[bytes], bytes]
    ) -> bytes | None:
        """A cell's value as a field of CSV; None when it is empty."""
        if formula and self._book.to_be_calculated:
            self._met("formulas_not_calculated")
        if kind == b"str":
            return quoted(value) if value or formula else None
        if not value:
            if formula and self._strict:
                raise Reject(
                    f"{self._name}, row {number}: a formula has no stored value; open the workbook in Excel or "
                    "LibreOffice and save it"
                )
            return b"" if formula else None
        if kind in (b"", b"n"):
            how = self.format(style)
            return self.dated(how, value) if how else self.number(number, value)
        if kind == b"s":
            return self.text(number, value)
        if kind == b"b":
            if (truth := value.strip()) not in (b"0", b"1", b"false", b"true"):
                raise Reject(f"{self._name}, row {number}: {truth[:40].decode(errors='replace')!r} is no truth value")
            return b"true" if truth in (b"1", b"true") else b"false"
        if kind == b"e":
            self._met("errors")
        return quoted(value)

    def text(self, number: int, value: bytes) -> bytes:
        """One of the workbook's shared texts, as a field of CSV."""
        try:
            return self._book.texts[int(value)]
        except (LookupError, ValueError):
            raise Reject(f"{self._name}, row {number}: a cell names a text that is not in the workbook") from None

    def _met(self, what: str) -> None:
        self.said[what] = self.said.get(what, 0) + 1

    def format(self, style: bytes) -> str:
        """What a style makes of a number: "date", "elapsed", or nothing."""
        number = int(style or b"0")
        return self._book.formats[number] if number < len(self._book.formats) else ""

    def number(self, number: int, value: bytes) -> bytes:
        """A number as the shortest text of the same double, or as it is written where it has more digits."""
        value = value.strip()
        if _WHOLE.fullmatch(value):
            return value if value.strip(b"-0") else b"0"
        try:
            found = float(value)
            if value.strip(_OF_NUMBERS) or b"_" in value:
                raise ValueError  # what Python takes for a number, and Excel does not: NaN, 1_000
        except ValueError:
            raise Reject(f"{self._name}, row {number}: {value[:40].decode(errors='replace')!r} is no number") from None
        digits = value.lower().partition(b"e")[0].translate(None, b"+-.").strip(b"0")
        if len(digits) > 17 and b"e" not in value.lower():
            return value  # more than a number of Excel's holds: it was written by another program
        if found.is_integer() and abs(found) < 2**53:
            return str(int(found)).encode()
        return repr(found).encode()

    def _as_date(self, how: str, value: bytes) -> bytes:
        days = float(value)
        milliseconds = round(days * 86_400_000) if abs(days) < 1e7 else -1
        if how == "elapsed" and milliseconds >= 0:
            seconds, rest = divmod(milliseconds, 1000)
            text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{rest:03}" if rest else "")
            return f'"{text}"'.encode()
        if 0 <= milliseconds < 86_400_000 and not self._book.since_1904:
            return (
                b'"'
                + (datetime.datetime.min + datetime.timedelta(milliseconds=milliseconds)).time().isoformat().encode()
                + b'"'
            )
        if not 0 <= milliseconds < 2_958_466 * 86_400_000:
            return self.number(0, value)  # Excel shows no date for it
        if self._book.since_1904:
            start = datetime.datetime(1904, 1, 1)
        else:
            # Excel has a 29 February 1900, day 60, which never was.
            if 60 <= milliseconds / 86_400_000 < 61:
                clock = (datetime.datetime.min + datetime.timedelta(milliseconds=milliseconds % 86_400_000)).time()
                return f'"1900-02-29T{clock.isoformat()}"'.encode()
            start = datetime.datetime(1899, 12, 31 if milliseconds < 60 * 86_400_000 else 30)
        try:
            return f'"{(start + datetime.timedelta(milliseconds=milliseconds)).isoformat()}"'.encode()
        except OverflowError:
            return self.number(0, value)
