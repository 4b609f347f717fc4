"""The processors that come with opskit, on real files and, for loading, on a real database."""

from __future__ import annotations

import csv
import datetime
import decimal
import hashlib
import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opskit.errors import ClaimLostError, MissingExtraError, Reject
from opskit.files import text
from opskit.files.inspecting import inspect_file
from opskit.files.loading import load_table, table_name
from opskit.files.names import unique_names
from tests.support.loads import (
    Connection,
    Load,
    MakeFile,
    RealDesk,
    claimed,
    parquet,
    rows_of,
    tables,
    types_of,
    workbook,
)

SAMPLES = Path(__file__).parents[2] / "samples"
FILES = sorted(path for path in SAMPLES.rglob("*") if path.is_file() and path != SAMPLES / "README.md")


def csv_rows(text: str, delimiter: str = ",") -> list[tuple[str | None, ...]]:
    """A CSV file's rows by Python's own reader; what is empty counts as NULL."""
    return [tuple(cell or None for cell in row) for row in csv.reader(io.StringIO(text), delimiter=delimiter)]


# -- the samples -----------------------------------------------------------------------------


def independent_count(path: Path) -> dict[str, int]:
    if path.suffix == ".xlsx":
        return {"rows": openpyxl.load_workbook(path).worksheets[0].max_row - 1}
    if path.suffix in (".csv", ".tsv"):
        return {"rows": len(csv_rows(path.read_text())) - 1}
    if path.suffix == ".jsonl":
        return {"rows": len(path.read_text().splitlines())}
    return {"lines": len(path.read_text().splitlines())} if path.suffix == ".txt" else {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_sample_is_inspected(path: Path) -> None:
    found = inspect_file(claimed(path, RealDesk()))

    content = path.read_bytes()
    kind = {".txt": "text"}.get(path.suffix, path.suffix[1:])
    expected = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "kind": kind}
    assert found == expected | independent_count(path)


def test_the_samples_are_small_and_each_has_its_source_named() -> None:
    readme = (SAMPLES / "README.md").read_text()

    assert sum(path.stat().st_size for path in FILES) < 300_000
    assert all(path.stat().st_size < 60_000 for path in FILES)
    named = [line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")]
    assert sorted(named) == sorted(str(path.relative_to(SAMPLES)) for path in FILES)


def test_every_sample_table_is_loaded_with_the_rows_that_were_counted(connection: Connection, desk: RealDesk) -> None:
    for path in FILES:
        if path.suffix not in (".json", ".txt"):
            loaded = load_table(claimed(path, desk))

            counted = inspect_file(claimed(path, desk)).get("rows", loaded["rows"])
            assert loaded["rows"] == len(rows_of(connection, loaded)) == counted


def test_a_sample_csv_is_loaded_as_it_is(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "us-employment.csv"

    loaded = load_table(claimed(path, desk))

    header, *rows = csv_rows(path.read_text())
    assert loaded["table"] == "dev_loaded_us_employment"
    assert loaded["columns"] == list(header)
    assert rows_of(connection, loaded) == rows


def test_a_sample_tsv_with_an_umlaut_in_its_name_is_loaded_as_it_is(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "Länder.tsv"

    loaded = load_table(claimed(path, desk))

    assert loaded["table"] == "dev_loaded_länder"
    assert rows_of(connection, loaded) == csv_rows(path.read_text(), "\t")[1:]


def test_a_sample_parquet_file_keeps_its_types(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "earthquakes.parquet"

    loaded = load_table(claimed(path, desk))

    records = pq.read_table(path).to_pylist()
    types = types_of(connection, loaded["table"])
    assert types["time"] == "timestamp with time zone"
    assert types["felt"] == "bigint"
    assert types["magnitude"] == "double precision"
    assert rows_of(connection, loaded) == [tuple(record.values()) for record in records]


def test_a_sample_workbook_is_loaded_as_text(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "Iowa electricity.xlsx"

    loaded = load_table(claimed(path, desk))

    _, *cells = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
    assert rows_of(connection, loaded) == [(year.isoformat(), source, str(made)) for year, source, made in cells]


def test_sample_json_lines_are_text_with_nested_values_as_jsonb(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "strong-earthquakes.jsonl"

    loaded = load_table(claimed(path, desk))

    records = [json.loads(line, parse_float=str, parse_int=str) for line in path.read_text().splitlines()]
    rows = [dict(zip(loaded["columns"], row, strict=True)) for row in rows_of(connection, loaded)]
    for row, record in zip(rows, records, strict=True):
        assert [float(number) for number in record.pop("coordinates")] == row.pop("coordinates")
        assert row.pop("tsunami") == str(record.pop("tsunami")).lower()
        assert row == record


# -- inspect_file ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("empty.csv", b"", {"kind": "empty"}),
        ("header.csv", b"a,b\n", {"kind": "csv", "rows": 0}),
        ("no_header_end.csv", b"a,b", {"kind": "csv", "rows": 0}),
        ("plain.csv", b"a,b\n1,2\n3,4\n", {"kind": "csv", "rows": 2}),
        ("no_final_newline.csv", b"a,b\n1,2\n3,4", {"kind": "csv", "rows": 2}),
        ("windows.csv", b"a,b\r\n1,2\r\n3,4\r\n", {"kind": "csv", "rows": 2}),
        ("empty_lines_at_the_end.csv", b"a,b\n1,2\n\n\r\n", {"kind": "csv", "rows": 1}),
        ("quoted.csv", b'a,b\n"1\n1","2 ""x""\n\n2"\n3,4\n', {"kind": "csv", "rows": 2}),
        ("quoted_end.csv", b'a\n"1\n\n"', {"kind": "csv", "rows": 1}),
        ("quoted.TSV", b'a\tb\n"1\n1"\t2\n', {"kind": "tsv", "rows": 1}),
        ("lines.ndjson", b'{"a": "\\""}\n{}\n\n', {"kind": "jsonl", "rows": 2}),
        ("notes.md", "ä\nb\n\n".encode(), {"kind": "text", "lines": 3}),
        ("latin.txt", "ä\nb".encode("latin-1"), {"kind": "text", "lines": 2}),
        ("whole.json", b"{}", {"kind": "json"}),
        ("noise.csv", b"a,b\n\0\n", {"kind": "binary"}),
        ("noise", bytes(range(256)), {"kind": "binary"}),
        ("shot.csv", b"\x89PNG\r\n\x1a\n\0\0", {"kind": "png"}),
        ("paper", b"%PDF-1.7\n", {"kind": "pdf"}),
        ("packed.csv", b"\x1f\x8b\x08\0", {"kind": "gzip"}),
        ("par.csv", b"PAR1,PAR2\n1,2\n", {"kind": "csv", "rows": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_edge_cases_are_told_apart(make_file: MakeFile, name: str, content: bytes, found: dict[str, Any]) -> None:
    digest = hashlib.sha256(content).hexdigest()
    assert inspect_file(make_file(name, content)) == {"size": len(content), "sha256": digest} | found


def test_a_zip_file_is_no_workbook(make_file: MakeFile) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.txt", "hello")

    assert inspect_file(make_file("a.xlsx", target.getvalue()))["kind"] == "zip"


def test_rows_of_the_first_sheet_are_counted_whatever_its_part_is_called(make_file: MakeFile) -> None:
    book = openpyxl.Workbook()
    for number in range(3):
        book.worksheets[0].append([number])
    first = book.create_sheet("first", 0)
    for number in range(5000):
        first.append([f"<row {number}>", number])
    target = io.BytesIO()
    book.save(target)

    assert inspect_file(make_file("two.xlsx", target.getvalue()))["rows"] == 4999


def test_a_broken_workbook_is_rejected(make_file: MakeFile) -> None:
    content = workbook([["a"], [1]])

    with pytest.raises(Reject, match=r"cut\.xlsx is a broken workbook"):
        inspect_file(make_file("cut.xlsx", content[: len(content) - 200]))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_rows_do_not_depend_on_where_blocks_end(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    content = b'a,b\r\n"1\n""\n",2\r\n,""\r\n"\n\n",""""\r\n5,6\r\n\r\n'
    file = make_file("quoted.csv", content)
    monkeypatch.setattr(text, "BLOCK", block)

    assert inspect_file(file)["rows"] == len(csv_rows(content.decode())[1:-1]) == 4


def test_a_large_file_takes_a_few_megabytes_of_memory(make_file: MakeFile) -> None:
    line = b'"17","some text, with a comma","2024-01-02"\n'
    per_block = 16_000
    file = make_file("large.csv", line)
    path = Path(file.storage_path or "")
    with path.open("wb") as target:
        for _ in range(2**26 // (len(line) * per_block)):
            target.write(line * per_block)
    tracemalloc.start()

    found = inspect_file(file)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found["size"] == path.stat().st_size > 6e7
    assert found["rows"] == found["size"] // len(line) - 1
    assert peak < 8e6


def test_what_is_read_is_reported_as_progress() -> None:
    desk = RealDesk()
    path = SAMPLES / "seattle-weather.csv"

    inspect_file(claimed(path, desk))

    assert desk.reported[-1] == (path.stat().st_size, path.stat().st_size)


def test_a_node_that_inspects_files_loads_no_heavy_package() -> None:
    heavy = "{'pyarrow', 'openpyxl', 'pandas', 'numpy', 'fsspec'}"
    code = f"import sys, opskit.processors; assert not {heavy} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=SAMPLES.parent)


# -- names -----------------------------------------------------------------------------------


def test_column_names_are_never_empty_never_twice_and_fit() -> None:
    long = "ä" * 40

    assert unique_names(["a", "", "a", " a ", None, "column_2"]) == [
        *("a", "column_2_2", "a_2", "a_3", "column_5", "column_2"),
    ]
    assert unique_names(["a", "a", "a_2"]) == ["a", "a_3", "a_2"]
    cut, again = unique_names([long, long])
    (other,) = unique_names([long + "x"])
    assert (cut, again) == (unique_names([long])[0], cut + "_2") or len(again.encode()) <= 63
    assert len({cut, again, other}) == 3
    assert max(len(name.encode()) for name in (cut, again, other)) <= 63
    assert unique_names(["xmin", "_file_id", "A", "a"]) == ["xmin_2", "_file_id_2", "A", "a"]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("Sales 2024 (final).csv", "dev_loaded_sales_2024_final"),
        ("Übersicht.csv", "dev_loaded_übersicht"),
        ("日本.csv", "dev_loaded_日本"),
        ("U\u0308bersicht.csv.gz", "dev_loaded_übersicht"),
        ("हिन्दी.csv", "dev_loaded_हिन्दी"),
        ("!!!.csv", "dev_loaded_file_e1985418"),
        ("../../etc/passwd", "dev_loaded_passwd"),
        ('x"; DROP TABLE users; --.csv', "dev_loaded_x_drop_table_users"),
        ("n" * 200 + ".csv", "dev_loaded_" + "n" * 43 + "_810a9985"),
    ],
)
def test_a_table_is_named_for_its_file(make_file: MakeFile, name: str, table: str) -> None:
    file = make_file("any.csv", b"")
    object.__setattr__(file, "original_filename", name)

    assert table_name(file) == table


# -- load_table: what arrives ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n3,4\n",
        "a,b\n1,2\n3,4",
        "a,b\r\n1,2\r\n3,4\r\n",
        "a,b\n1,2\n\n\n",
        "\ufeffa,b\n1,2\n",
        '\ufeff"a","b"\n1,2\n',
        'a,b\n"x\n""y""","\\."\n,ö\n',
        'a,b\n"x\n\\.\ny",1\n',
        "a,b\n",
        "a,b",
        '"a\nb","c"\n1,2\n',
        "a\n1\n2\n",
        "a;b\n1,5;2\n",
    ],
    ids=[
        *("plain", "no final newline", "windows", "empty lines at the end", "bom", "bom and quotes"),
        *(
            "quotes",
            "end mark in quotes",
            "header only",
            "header without newline",
            "line break in header",
            "one column",
            "semicolons",
        ),
    ],
)
def test_csv_rows_arrive_as_they_are(connection: Connection, load: Load, content: str) -> None:
    loaded = load("a.csv", content.encode())

    delimiter = ";" if ";" in content else ","
    header, *rows = [row for row in csv_rows(content.removeprefix("\ufeff"), delimiter) if row]
    expected = {"table": "dev_loaded_a", "rows": len(rows), "columns": list(header), "delimiter": delimiter}
    assert loaded == expected
    assert rows_of(connection, loaded) == rows


@pytest.mark.parametrize("block", [9, 10, 64])
def test_loaded_rows_do_not_depend_on_where_blocks_end(
    connection: Connection, load: Load, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    content = 'a,b\r\n"1\r\n\r\n",2\r\nä,"\\.x"\r\n"\r\n\r\n",x\r\n\r\n\r\n'
    monkeypatch.setattr(text, "BLOCK", block)

    loaded = load("a.csv", content.encode())

    assert rows_of(connection, loaded) == [("1\r\n\r\n", "2"), ("ä", "\\.x"), ("\r\n\r\n", "x")]


def test_many_blocks_of_csv_arrive_whole(connection: Connection, load: Load) -> None:
    lines = [f"{number},text {number}" for number in range(200_000)]

    loaded = load("many.csv", "\n".join(["n,t", *lines]).encode())

    assert loaded["rows"] == 200_000
    (row,) = connection.execute("SELECT sum(n::int), count(DISTINCT t) FROM dev_loaded_many")
    assert row == {"sum": 200_000 * 199_999 // 2, "count": 200_000}


def test_empty_text_in_quotes_is_not_null(connection: Connection, load: Load) -> None:
    loaded = load("a.csv", b'a,b\n"",\n')

    assert rows_of(connection, loaded) == [("", None)]


def test_weird_headers_are_names_and_nothing_else(connection: Connection, load: Load) -> None:
    names = ['"', "%s", "%(a)s", "{}", "; DROP TABLE users; --", "a\nb", "select", "", "xmin", "x" * 99, "x" * 98]
    connection.execute("CREATE TABLE users ()")
    target = io.StringIO()
    csv.writer(target).writerows([names, [str(number) for number in range(len(names))]])

    loaded = load("weird.csv", target.getvalue().encode())

    assert loaded["columns"][:7] == names[:7]
    assert loaded["columns"][7:9] == ["column_8", "xmin_2"]
    assert [name[:54] for name in loaded["columns"][9:]] == ["x" * 54] * 2
    assert len(set(loaded["columns"])) == len(names)
    assert rows_of(connection, loaded) == [tuple(str(number) for number in range(len(names)))]
    assert "users" in tables(connection)


def test_every_kind_of_json_value_arrives(connection: Connection, load: Load) -> None:
    lines = [
        '\ufeff{"a": 1.10, "b": "x\\ny,\\"z\\"", "c": {"k": [1, null, NaN]}}',
        '{"b": true, "a": 12345678901234567890, "d": ""}',
        "",
        '{"c": "scalar", "a": null, "e": 1e5}',
        '{"a": "\\\\."}',
    ]

    loaded = load("a.jsonl", "\n".join(lines).encode())

    assert types_of(connection, loaded["table"])["c"] == "jsonb"
    assert loaded["columns"] == ["a", "b", "c", "d", "e"]
    assert rows_of(connection, loaded) == [
        ("1.10", 'x\ny,"z"', {"k": [1, None, "NaN"]}, None, None),
        ("12345678901234567890", "true", None, "", None),
        (None, None, "scalar", None, "1e5"),
        ("\\.", None, None, None, None),
    ]


def test_every_arrow_type_arrives(connection: Connection, load: Load) -> None:
    at = datetime.datetime(2024, 2, 29, 12, 30, 0, 123456)
    utc = at.replace(tzinfo=datetime.UTC)
    columns: dict[str, tuple[pa.DataType, Any, str]] = {
        "i8": (pa.int8(), -5, "bigint"),
        "u64": (pa.uint64(), 2**64 - 1, "numeric"),
        "f16": (pa.float16(), 0.5, "double precision"),
        "f64": (pa.float64(), 0.1, "double precision"),
        "infinite": (pa.float64(), float("-inf"), "double precision"),
        "b": (pa.bool_(), True, "boolean"),
        "day": (pa.date32(), at.date(), "date"),
        "moment": (pa.timestamp("us"), at, "timestamp without time zone"),
        "instant": (pa.timestamp("us", tz="Europe/Rome"), utc, "timestamp with time zone"),
        "nanos": (pa.timestamp("ns"), at, "timestamp without time zone"),
        "clock": (pa.time64("us"), at.time(), "time without time zone"),
        "money": (pa.decimal128(20, 4), decimal.Decimal("1234567890.1234"), "numeric"),
        "list": (pa.list_(pa.float64()), [1.5, None], "jsonb"),
        "struct": (pa.struct([("x", pa.string()), ("d", pa.date32())]), {"x": '"', "d": at.date()}, "jsonb"),
        "bytes": (pa.binary(), b'\x00\xff,"\n', "bytea"),
        "text": (pa.string(), 'a,"b"\n\\.\nc', "text"),
        "large": (pa.large_string(), "", "text"),
        "category": (pa.dictionary(pa.int8(), pa.string()), "red", "text"),
        "duration": (pa.duration("s"), datetime.timedelta(hours=1), "text"),
        "nothing": (pa.null(), None, "text"),
    }
    table = pa.table({name: pa.array([value, None], kind) for name, (kind, value, _) in columns.items()})

    loaded = load("types.parquet", parquet(table))

    expected = {name: value for name, (_, value, _) in columns.items()}
    expected |= {"struct": {"x": '"', "d": "2024-02-29"}, "duration": "1:00:00"}
    types = {name: kind for name, (_, _, kind) in columns.items()}
    assert types_of(connection, loaded["table"]) == {"_file_id": "text"} | types
    first, second = rows_of(connection, loaded)
    assert dict(zip(columns, first, strict=True)) == expected
    assert set(second) == {None}


def test_parquet_of_many_row_groups_arrives_whole(connection: Connection, desk: RealDesk, load: Load) -> None:
    table = pa.table({"n": range(20_000), "t": [f"text {number % 7}" for number in range(20_000)]})

    loaded = load("groups.parquet", parquet(table, row_group_size=3_000))

    assert rows_of(connection, loaded) == list(zip(*table.to_pydict().values(), strict=True))
    assert desk.reported[-1] == (20_000, 20_000)


def test_every_kind_of_cell_arrives(connection: Connection, load: Load) -> None:
    day = datetime.datetime(2024, 2, 29)
    cells = [None, 1, 2.0, 2.5, True, day, day.time(), 'a,"b"', " ", 10**15]

    loaded = load("cells.xlsx", workbook([[], ["h", None, 3, "h"] + ["x"] * 6, cells, [], ["only one"]]))

    names = ["h", "column_2", "3", "h_2", "x", "x_2", "x_3", "x_4", "x_5", "x_6"]
    assert loaded["columns"] == names
    texts = (None, "1", "2", "2.5", "true", "2024-02-29T00:00:00", "00:00:00", 'a,"b"', " ", "1000000000000000")
    assert rows_of(connection, loaded) == [texts, ("only one", *[None] * 9)]


# -- load_table: the table -------------------------------------------------------------------


def test_a_file_of_the_same_name_adds_its_rows_under_its_own_id(connection: Connection, load: Load) -> None:
    load("a.csv", b"n\n1\n", id="first")
    load("a.csv", b"n\n2\n", id="it's %s; second")

    rows = [tuple(row.values()) for row in connection.execute("SELECT n, _file_id FROM dev_loaded_a ORDER BY n")]
    assert rows == [("1", "first"), ("2", "it's %s; second")]


def test_columns_that_a_table_lacks_are_added(connection: Connection, load: Load) -> None:
    load("a.csv", b"n,old\n1,x\n", id="1")
    loaded = load("a.csv", b"new,n\ny,2\n", id="2")

    assert loaded["columns"] == ["new", "n"]
    rows = connection.execute("SELECT n, old, new, _file_id FROM dev_loaded_a ORDER BY n").fetchall()
    assert [tuple(row.values()) for row in rows] == [("1", "x", None, "1"), ("2", None, "y", "2")]


def test_rows_that_were_in_the_table_before_get_no_file_id(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (n text); INSERT INTO dev_loaded_a VALUES ('0')")

    load("a.csv", b"n\n1\n", id="1")

    rows = connection.execute("SELECT n, _file_id FROM dev_loaded_a ORDER BY n").fetchall()
    assert [tuple(row.values()) for row in rows] == [("0", None), ("1", "1")]


def test_a_table_that_has_all_columns_is_not_locked(connection: Connection, load: Load, database_url: str) -> None:
    load("a.csv", b"n\n1\n", id="1")

    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT FROM dev_loaded_a")
        connection.execute("SET lock_timeout = '1s'")
        load("a.csv", b"n\n2\n", id="2")

    assert connection.execute("SELECT FROM dev_loaded_a").rowcount == 2


def test_a_statement_timeout_does_not_cut_a_load(connection: Connection, load: Load) -> None:
    connection.execute("SET statement_timeout = '1h'")
    connection.execute("CREATE TABLE dev_loaded_a (n text, timeout text DEFAULT current_setting('statement_timeout'))")

    load("a.csv", b"n\n1\n")

    (row,) = connection.execute("SELECT timeout, current_setting('statement_timeout') AS after FROM dev_loaded_a")
    assert row == {"timeout": "0", "after": "1h"}


# -- load_table: what is refused -------------------------------------------------------------


def test_a_lost_claim_writes_nothing(connection: Connection, desk: RealDesk, load: Load) -> None:
    desk.lost = True

    with pytest.raises(ClaimLostError):
        load("a.csv", b"n\n1\n")

    assert tables(connection) == []


REJECTED = [
    ("empty.csv", b"", r"empty\.csv is empty; CSV, TSV and JSON lines .*Excel"),
    ("a.txt", b"hello\n", r"a\.txt is of the kind text; CSV"),
    ("a.json", b"{}", "of the kind json"),
    ("a.csv", b"a,b\n\0,1\n", "of the kind binary"),
    ("a.csv", b"\n1,2\n", "line 1: there is no header"),
    ("a.csv", b",,\n1,2,3\n", "line 1: there is no header"),
    ("a.csv", b'"a"x,b\n', "line 1: the header cannot be read"),
    ("wide.csv", b"a,b\n1,2\n1,2,3\n", r"wide\.csv, line 3: extra data after last expected column"),
    ("narrow.csv", b"a,b\n1,2\n\n3,4\n", r'narrow\.csv, line 3: missing data for column "b"'),
    ("open.csv", b'a,b\n1,2\n3,"4\n', r"open\.csv, line 3: unterminated CSV quoted field"),
    ("latin.csv", b"a,b\n1,2\n\xe4,3\n", r"latin\.csv, line 3: not UTF-8 \(byte 0xe4\)"),
    ("end.csv", b"a\n1\n\\.\n2\n", r"a line that is only \\\."),
    ("end.csv", b"a\n1\n\\.", r"a line that is only \\\."),
    ("end.csv", b'"a\n\\.\n"\n1\n\\.\r\n', r"a line that is only \\\."),
    ("many.csv", b",".join(b"c%d" % n for n in range(1600)) + b"\n", "more columns than a table can have, 1599"),
    ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: Expecting value"),
    ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl, line 2: not a JSON object"),
    ("a.jsonl", b'{"a": 1}\n\n{"a": "\xe4"}', r"a\.jsonl, line 3: invalid byte sequence"),
    ("a.jsonl", b'{"a": "\\ud800"}', r"half a character \(\\ud800\)"),
    ("a.jsonl", b'{"a": "1"}\n{"a": "\\u0000"}', r"a\.jsonl, line 2: invalid byte sequence"),
    ("a.jsonl", b"{}\n", "has no columns"),
    ("a.jsonl", b"[" * 100_000, "line 1: "),
    ("a.xlsx", workbook([["a"], [1, 2]]), r"a\.xlsx, row 2: 2 cells under a header of 1"),
    ("a.xlsx", workbook([]), "has no columns"),
    ("a.xlsx", workbook([["a"], [1]])[:-200], r"a\.xlsx cannot be read"),
    ("a.parquet", parquet(pa.table({"a": ["x" * 99] * 99}))[:-60], r"a\.parquet cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), REJECTED)
def test_a_bad_file_is_rejected_in_one_sentence_and_nothing_stays(
    connection: Connection, load: Load, name: str, content: bytes, sentence: str
) -> None:
    with pytest.raises(Reject, match=sentence) as caught:
        load(name, content)

    assert "\n" not in str(caught.value)
    assert tables(connection) == []


def test_a_broken_page_in_a_parquet_file_is_rejected(connection: Connection, load: Load) -> None:
    content = bytearray(parquet(pa.table({"a": [f"text {number}" for number in range(9000)]}), use_dictionary=False))
    content[60:3000] = bytes(2940)

    with pytest.raises(Reject, match=r"a\.parquet cannot be read"):
        load("a.parquet", bytes(content))

    assert tables(connection) == []


def test_bytes_that_are_not_utf_8_far_into_a_file_are_rejected_with_their_line(
    connection: Connection, load: Load
) -> None:
    content = b"a,b\n" + b"some text,some more text\n" * 60_000 + b"\xe4,1\n" + b"1,2\n" * 10

    with pytest.raises(Reject, match=r'a\.csv, line 60002: invalid byte sequence for encoding "UTF8": 0xe4'):
        load("a.csv", content)

    assert tables(connection) == []


def test_values_that_do_not_fit_a_table_that_is_there_are_rejected(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (n bigint, _file_id text)")

    with pytest.raises(Reject, match=r'a\.csv, line 3: invalid input syntax for type bigint: "x"'):
        load("a.csv", b"n,new\n1,\nx,\n")

    assert "new" not in types_of(connection, "dev_loaded_a")
    assert connection.execute("SELECT FROM dev_loaded_a").rowcount == 0


def test_a_database_error_that_is_not_the_files_fault_is_not_a_rejection(connection: Connection, load: Load) -> None:
    connection.execute("CREATE VIEW dev_loaded_a AS SELECT 1 AS n, '' AS _file_id")

    with pytest.raises(psycopg.Error):
        load("a.csv", b"n\n1\n")


def test_storage_that_fails_is_not_a_rejection(desk: RealDesk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_table(claimed(tmp_path / "gone.csv", desk))


def test_a_missing_package_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet(pa.table({"a": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match=r"pyarrow is not installed; run: pip install 'opskit\[formats\]'"):
        load("a.parquet", content)


def test_a_load_counts_the_rows_that_its_table_has_taken(
    load: Callable[..., dict[str, Any]], connection: Connection
) -> None:
    connection.execute("CREATE TABLE dev_loaded_sales (_file_id text, sku text)")
    connection.execute(
        "CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RETURN CASE WHEN NEW.sku = 'b' THEN NULL ELSE NEW END; END $$"
    )
    connection.execute("CREATE TRIGGER app BEFORE INSERT ON dev_loaded_sales FOR EACH ROW EXECUTE FUNCTION app()")

    assert load("sales.csv", b"sku\na\nb\nc\n")["rows"] == 2
