"""Files drawn at random, many a second: for runs of hundreds of thousands, where hypothesis takes most of the time."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import math
import random
import string
import struct
from collections.abc import Callable
from typing import Any, Literal

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter

from tests.files import comparing
from tests.files.comparing import Differ

NASTY = ',";\t|\r\n\\. aé€𝄞\ufeff\v\x01\x85\u2028\u00a0\x0c\x1c'
ODD_CELLS = ("", "\\.", '"', "007", "1,5", "null", "NULL", "\\N", "\ufeff", " ", "''", "-", "=1+1", "#N/A", "1e5", "\\")
NAME_LETTERS = string.ascii_uppercase + "äß世_ 1"  # PostgreSQL's own columns are in lower case
ODD_TEXTS = ("null", "[1]", '{"a": 1}', '"', "\\", "\u2028", "true", "", " ", "\n", "\\u0000", "1", "-0", "\x7f")
KEYS = ("a", "b", "é", 'q"', "c\\d", "_file", "A", "a ", "0")
WIDTHS = (1, 7, 8, 15, 16, 31, 32, 52, 53, 63)


class Draw(random.Random):
    """Values that readers stumble over."""

    def letter(self, without: str = "") -> str:
        """Any character but NUL, Ctrl-Z and half ones; those with a meaning often."""
        while True:
            kind = self.random()
            if kind < 0.6:
                found = self.choice(NASTY)
            elif kind < 0.8:
                found = chr(self.randrange(32, 127))
            else:
                found = chr(
                    self.choice((self.randrange(1, 0x800), self.randrange(1, 0x10000), self.randrange(0x110000)))
                )
            if found not in without and found not in "\0\x1a" and not 0xD800 <= ord(found) < 0xE000:
                return found

    def cell(self) -> str:
        """A cell of CSV."""
        if self.random() < 0.25:
            return self.choice(ODD_CELLS)
        return "".join(self.letter() for _ in range(self.randrange(9)))

    def text(self) -> str:
        """A text of JSON or Parquet."""
        if self.random() < 0.25:
            return self.choice(ODD_TEXTS)
        return "".join(self.letter() for _ in range(self.randrange(9)))

    def whole(self, bits: int) -> int:
        """A signed number of at most so many bits; the edges often."""
        number = self.getrandbits(self.choice(tuple(width for width in WIDTHS if width < bits)))
        number = self.choice((number, number, (1 << (bits - 1)) - 1, 0))
        return -number - self.randrange(2) if self.random() < 0.5 else number

    def real(self) -> float:
        """Any double but NaN and the infinite ones."""
        kind = self.random()
        if kind < 0.3:
            return self.choice((0.0, -0.0, 0.1, 1e15, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 2.0**53, 1 / 3))
        if kind < 0.6:
            return round(self.uniform(-1e6, 1e6), self.randrange(6))
        (found,) = struct.unpack("<d", self.randbytes(8))
        return float(found) if math.isfinite(found) else 0.0

    def value(self, depth: int = 0) -> Any:
        """A value of JSON."""
        kind = self.randrange(8 if depth < 3 else 6)
        if kind == 0:
            return None
        if kind == 1:
            return self.random() < 0.5
        if kind == 2:
            return self.whole(64) * self.choice((1, 1, 10**30))
        if kind == 3:
            return self.real()
        if kind < 6:
            return self.text()
        if kind == 6:
            return [self.value(depth + 1) for _ in range(self.randrange(4))]
        return {self.text(): self.value(depth + 1) for _ in range(self.randrange(4))}

    def moment(self) -> datetime.datetime:
        """Any moment that PostgreSQL and Python know."""
        year = self.choice((1, 1582, 1900, 1969, 1970, 2000, 2024, 9999, self.randrange(1, 10000)))
        start = datetime.datetime(year, 1, 1) + datetime.timedelta(days=self.randrange(1, 364))
        return start + datetime.timedelta(microseconds=self.choice((0, 1, 10**6, self.randrange(86_400 * 10**6))))


def _decimal(draw: Draw) -> decimal.Decimal:
    return decimal.Decimal(draw.randrange(-(10**11), 10**11)).scaleb(-3)


TYPES: tuple[tuple[pa.DataType, Callable[[Draw], Any]], ...] = (
    (pa.int8(), lambda draw: draw.whole(8)),
    (pa.int16(), lambda draw: draw.whole(16)),
    (pa.int32(), lambda draw: draw.whole(32)),
    (pa.int64(), lambda draw: draw.whole(64)),
    (pa.uint8(), lambda draw: draw.getrandbits(8)),
    (pa.uint32(), lambda draw: draw.getrandbits(32)),
    (pa.float64(), lambda draw: draw.choice((draw.real(), math.inf, -math.inf))),
    (pa.float32(), lambda draw: struct.unpack("<f", struct.pack("<f", round(draw.uniform(-1e6, 1e6), 2)))[0]),
    (pa.bool_(), lambda draw: draw.random() < 0.5),
    (pa.string(), Draw.text),
    (pa.large_string(), Draw.text),
    (pa.binary(), lambda draw: draw.randbytes(draw.randrange(7))),
    (pa.decimal128(12, 3), _decimal),
    (pa.date32(), lambda draw: draw.moment().date()),
    (pa.timestamp("us"), Draw.moment),
    (pa.timestamp("ms"), lambda draw: draw.moment().replace(microsecond=draw.randrange(1000) * 1000)),
    (pa.time64("us"), lambda draw: draw.moment().time()),
    (pa.list_(pa.int64()), lambda draw: [draw.whole(64) for _ in range(draw.randrange(4))]),
)


def csv_as_written(draw: Draw, differ: Differ) -> None:
    """CSV as Python's writer writes it."""
    width = draw.randrange(1, 6)
    names = ("".join(draw.choice(NAME_LETTERS) for _ in range(draw.randrange(1, 7))) for _ in range(width))
    header = list({name.strip() or "X": name if name.strip() else "X" for name in names}.values())
    rows = [[draw.cell() for _ in header] for _ in range(draw.randrange(7))]
    newline = draw.choice(("\n", "\r\n", "\r"))
    quoting: Literal[0, 1, 2] = draw.choice((csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC))
    # Before Python 3.13 its writer leaves line breaks of another kind than its own without quotes.
    if newline != "\r\n" and any(mark in cell for row in rows for cell in row for mark in "\r\n"):
        quoting = csv.QUOTE_ALL
    target = io.StringIO()
    writer = csv.writer(target, delimiter=draw.choice(",;\t|"), lineterminator=newline, quoting=quoting)
    writer.writerows([header, *rows])
    encoding = draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32"))
    comparing.written_csv(differ, target.getvalue().encode(encoding), header, rows)


def csv_of_any_text(draw: Draw, differ: Differ) -> None:
    """Characters with a meaning, in any order."""
    letters = draw.choice(('ab1,;"\n\r\t \\.', 'a,"\n', 'a,"\r\n', "ab,\n", 'a;"\n é'))
    comparing.any_text(differ, "".join(draw.choice(letters) for _ in range(draw.randrange(41))))


def json_lines(draw: Draw, differ: Differ) -> None:
    """JSON lines as Python writes them."""
    records = [{key: draw.value() for key in draw.sample(KEYS, draw.randrange(5))} for _ in range(draw.randrange(1, 7))]
    comparing.written_json(
        differ,
        records,
        escaped=draw.random() < 0.5,
        blanks=draw.choice(("\n", "\r\n", "\n\n", " \n")),
        block=draw.choice((16, 64, 1 << 20)),
    )


def parquet(draw: Draw, differ: Differ) -> None:
    """Parquet of some columns, plain or as dictionaries, in any compression."""
    rows = draw.randrange(1, 7)
    columns = {}
    for place in range(draw.randrange(1, 5)):
        kind, value = draw.choice(TYPES)
        array = pa.array([None if draw.random() < 0.2 else value(draw) for _ in range(rows)], kind)
        if draw.random() < 0.5 and not pa.types.is_boolean(kind) and not pa.types.is_nested(kind):
            array = array.dictionary_encode()
        columns[f"c{place}"] = array
    target = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        target,
        compression=draw.choice(("none", "snappy", "zstd", "gzip")),
        row_group_size=draw.randrange(1, 7),
        use_dictionary=draw.random() < 0.5,
        data_page_version=draw.choice(("1.0", "2.0")),
    )
    comparing.written_parquet(differ, target.getvalue())


def workbook(draw: Draw, differ: Differ) -> None:
    """A workbook of openpyxl or xlsxwriter."""
    rows = [[_cell_of_excel(draw) for _ in range(draw.randrange(1, 5))] for _ in range(draw.randrange(6))]
    target = io.BytesIO()
    if draw.random() < 0.5:
        book = openpyxl.Workbook()
        for row in [["a", "b", "c", "d"], *rows]:
            book.worksheets[0].append(row)
        book.save(target)
    else:
        with xlsxwriter.Workbook(
            target, {"default_date_format": "yyyy-mm-dd hh:mm:ss.000", "in_memory": True, "strings_to_formulas": False}
        ) as other:
            sheet = other.add_worksheet()
            for number, row in enumerate([["a", "b", "c", "d"], *rows]):
                for place, value in enumerate(row):
                    if isinstance(value, str):
                        sheet.write_string(number, place, value)
                    elif value is not None:
                        sheet.write(number, place, value)
    comparing.written_workbook(differ, target.getvalue())


def _cell_of_excel(draw: Draw) -> Any:
    kind = draw.randrange(5)
    if kind == 0:
        return None
    if kind == 1:
        return draw.random() < 0.5
    if kind == 2:
        return draw.choice((draw.randrange(-(10**14), 10**14), float(f"{draw.uniform(-1e15, 1e15):.12g}"), 0.1, 1e-7))
    if kind == 3:
        moment = draw.moment()
        return moment.replace(year=1901 + moment.year % 199, day=1, microsecond=moment.microsecond // 1000 * 1000)
    text = "".join(chr(draw.choice((draw.randrange(33, 127), draw.randrange(0xA1, 0xD7FF)))) for _ in range(4))
    # Not tried: formulas, escapes of Excel's own, and what Unicode has no letter for, which openpyxl refuses.
    return "x" if text.startswith(("=", "{")) or "_x" in text or not text.isprintable() else text


FORMATS: dict[str, Callable[[Draw, Differ], None]] = {
    "CSV as it is written": csv_as_written,
    "CSV of any text": csv_of_any_text,
    "JSON lines": json_lines,
    "Parquet": parquet,
    "Excel": workbook,
}
"""What is drawn: each draws one file, loads it, and compares."""
