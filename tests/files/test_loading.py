"""Loading files into tables of a real database."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
from collections.abc import Callable
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from opskit.errors import ClaimLostError
from opskit.files import text
from opskit.files.loading import table_name
from opskit.files.sql_names import unique_names
from tests.support.loads import Connection, Load, MakeFile, RealDesk, parquet, rows_of, tables, types_of, workbook
from tests.support.sample_files import csv_rows

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
