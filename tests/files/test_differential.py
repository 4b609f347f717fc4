"""Generated files through `load_table` and through an independent reader: the same, or rejected.

2,000 files a run, which hypothesis draws and makes small where something differs; `make differential CASES=200000`
tries more, drawn at random. A cell of Excel that has blanks alone is not tried: calamine leaves them out.
"""

from __future__ import annotations

import csv
import datetime
import io
import os
import string
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import openpyxl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from tests.files import comparing
from tests.files.comparing import Differ

EACH = int(os.environ.get("OPSKIT_DIFFERENTIAL_FILES", "2000")) // 5
MANY = settings(
    max_examples=EACH,
    deadline=None,
    derandomize="OPSKIT_DIFFERENTIAL_FILES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    database=None,
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(36_000)]


@pytest.fixture(scope="module")
def differ(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Differ]:
    url = server.create_database()
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield Differ(connection, tmp_path_factory.mktemp("differential"))
    server.drop_database(url)


@pytest.fixture(autouse=True)
def own_tally(differ: Differ) -> None:
    """A test counts its own files: not those of a test before it that failed."""
    differ.tally.clear()


def enough(differ: Differ, share: float) -> None:
    """Most files are loaded: a reader that rejects everything is right, and of no use."""
    counts, differ.tally = differ.tally, Counter()
    assert counts["loaded"] >= share * sum(counts.values()), counts


# -- CSV -----------------------------------------------------------------------------------------

LETTERS = st.characters(codec="utf-8", exclude_characters="\0\x1a")
NASTY = st.sampled_from(list('",;\t|\r\n\\. aé€𝄞\ufeff\v\x01')) | LETTERS
CELLS = st.text(NASTY, max_size=8) | st.sampled_from(["", "\\.", '"', "007", "1,5", "null", "\ufeff", " "])
LETTERS_OF_NAMES = st.sampled_from(string.ascii_uppercase + "äß世_ 1")  # PostgreSQL's own columns are in lower case
NAMES = st.text(LETTERS_OF_NAMES, min_size=1, max_size=6).filter(lambda name: bool(name.strip()))


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[bytes, list[str], list[list[str]]]:
    """A file as a program writes it: its bytes, its header, its rows."""
    width = draw(st.integers(1, 5))
    header = draw(st.lists(NAMES, min_size=width, max_size=width, unique_by=str.strip))
    rows = draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6))
    target = io.StringIO()
    delimiter = draw(st.sampled_from(",;\t|"))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting: Literal[0, 1, 2] = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
    # Before Python 3.13 its writer leaves line breaks of another kind than its own without quotes.
    if newline != "\r\n" and any(mark in cell for row in rows for cell in row for mark in "\r\n"):
        quoting = csv.QUOTE_ALL
    writer = csv.writer(target, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerows([header, *rows])
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    return target.getvalue().encode(encoding), header, rows


@MANY
@given(made=csv_files())
def check_written_csv(made: tuple[bytes, list[str], list[list[str]]], differ: Differ) -> None:
    comparing.written_csv(differ, *made)


def test_csv_as_programs_write_it_is_read_as_it_was_written(differ: Differ) -> None:
    check_written_csv(differ=differ)
    enough(differ, 0.7)


@MANY
@given(soup=st.text(st.sampled_from('ab1,;"\n\r\t \\.'), max_size=40))
def check_soup(soup: str, differ: Differ) -> None:
    comparing.any_text(differ, soup)


def test_any_text_is_read_as_pythons_reader_does_or_rejected(differ: Differ) -> None:
    check_soup(differ=differ)
    enough(differ, 0.05)


# -- JSON lines ----------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["null", "[1]", '{"a": 1}', '"', "\\", "\u2028", "true"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "é", 'q"', "c\\d"]), VALUES), min_size=1, max_size=6)


@MANY
@given(
    records=RECORDS,
    escaped=st.booleans(),
    blanks=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
    block=st.sampled_from([16, 64, 1 << 20]),
)
def check_json(records: list[dict[str, Any]], escaped: bool, blanks: str, block: int, differ: Differ) -> None:
    comparing.written_json(differ, records, escaped=escaped, blanks=blanks, block=block)


def test_json_lines_are_read_as_they_were_written(differ: Differ) -> None:
    check_json(differ=differ)
    enough(differ, 0.8)


# -- Parquet -------------------------------------------------------------------------------------

DAYS = st.dates(datetime.date(1, 1, 1), datetime.date(9999, 12, 31))
MOMENTS = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))
TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint32(), st.integers(0, 2**32 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.float32(), st.floats(allow_nan=False, width=32)),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.binary(), st.binary(max_size=6)),
    (pa.decimal128(12, 3), st.decimals(-(10**8), 10**8, places=3, allow_nan=False)),
    (pa.date32(), DAYS),
    (pa.timestamp("us"), MOMENTS),
    (pa.timestamp("ms"), MOMENTS.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))),
    (pa.time64("us"), st.times()),
]


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    """A Parquet file of some columns, plain or as dictionaries, in any compression."""
    rows = draw(st.integers(1, 6))
    columns = {}
    for place in range(draw(st.integers(1, 4))):
        kind, values = draw(st.sampled_from(TYPES))
        array = pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
        if draw(st.booleans()) and not pa.types.is_boolean(kind):
            array = array.dictionary_encode()
        columns[f"c{place}"] = array
    target = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        target,
        compression=draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        row_group_size=draw(st.integers(1, 6)),
        use_dictionary=draw(st.booleans()),
        data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
    )
    return target.getvalue()


@MANY
@given(content=parquet_files())
def check_parquet(content: bytes, differ: Differ) -> None:
    comparing.written_parquet(differ, content)


def test_parquet_is_read_as_duckdb_reads_it(differ: Differ) -> None:
    check_parquet(differ=differ)
    enough(differ, 1.0)


# -- Excel ---------------------------------------------------------------------------------------

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"], exclude_characters="\ufffe\uffff"),
    min_size=1, max_size=8,
).filter(lambda text: bool(text.strip()) and not text.startswith(("=", "{")) and "_x" not in text)  # fmt: skip
NUMBERS = st.integers(-(10**14), 10**14) | st.floats(-1e15, 1e15, allow_nan=False).map(lambda n: float(f"{n:.12g}"))
INSTANTS = st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2100, 1, 1)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000)
)
SHEETS = st.lists(st.lists(st.none() | WORDS | NUMBERS | st.booleans() | INSTANTS, min_size=1, max_size=4), max_size=5)


def written_by(program: str, rows: list[list[Any]]) -> bytes:
    target = io.BytesIO()
    if program == "openpyxl":
        book = openpyxl.Workbook()
        for row in rows:
            book.worksheets[0].append(row)
        book.save(target)
    else:
        with xlsxwriter.Workbook(target, {"default_date_format": "yyyy-mm-dd hh:mm:ss.000"}) as other:
            sheet = other.add_worksheet()
            for number, row in enumerate(rows):
                for place, value in enumerate(row):
                    if isinstance(value, str):
                        sheet.write_string(number, place, value)
                    elif value is not None:
                        sheet.write(number, place, value)
    return target.getvalue()


@MANY
@given(rows=SHEETS, program=st.sampled_from(["openpyxl", "xlsxwriter"]))
def check_excel(rows: list[list[Any]], program: str, differ: Differ) -> None:
    comparing.written_workbook(differ, written_by(program, [["a", "b", "c", "d"], *rows]))


def test_workbooks_are_read_as_calamine_reads_them(differ: Differ) -> None:
    check_excel(differ=differ)
    enough(differ, 1.0)
