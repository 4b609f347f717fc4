"""Parquet: logical types, dictionaries, views and nested values as they are; what PostgreSQL cannot keep is refused."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import math
import random
import sys
import uuid
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from opskit.errors import Reject
from tests.support.loads import Connection, Load, parquet, rows_of, types_of


@pytest.fixture(params=["binary", "csv"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways into COPY."""
    if request.param == "csv":
        monkeypatch.setitem(sys.modules, "pgpq", None)
    return str(request.param)


UUIDS = [uuid.UUID(int=n * 2**100 + 7) for n in range(3)]
DAY = datetime.date(2024, 2, 29)
FIRST = DAY.replace(day=1)
AT = datetime.datetime(2024, 2, 29, 12, 30, 0, 123456)


def dictionary_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), pa.array(values, kind))


ARRAYS: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "uuid": (pa.array([one.bytes for one in UUIDS], pa.uuid()), "uuid", UUIDS),
    "json": (
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"n": 1.10}', None, '"x"'], pa.string())),
        "jsonb",
        [{"n": 1.1}, None, "x"],
    ),
    "bool8": (
        pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0, None], pa.int8())), "boolean", [True, False, None]
    ),
    "dictionary of dates": (dictionary_of([DAY, FIRST], pa.date32()), "date", [FIRST, DAY, None]),
    "dictionary of bytes": (dictionary_of([b"\0'", b"\\"], pa.binary()), "bytea", [b"\\", b"\0'", None]),
    "dictionary of decimals": (
        dictionary_of([decimal.Decimal("1.10"), decimal.Decimal("-2.00")], pa.decimal128(9, 2)),
        "numeric",
        [decimal.Decimal("-2.00"), decimal.Decimal("1.10"), None],
    ),
    "string view": (pa.array(["a", None, "x" * 40], pa.string_view()), "text", ["a", None, "x" * 40]),
    "binary view": (pa.array([b"a", None, b"\0" * 40], pa.binary_view()), "bytea", [b"a", None, b"\0" * 40]),
    "fixed bytes": (pa.array([b"ab", None, b"\0\1"], pa.binary(2)), "bytea", [b"ab", None, b"\0\1"]),
    "large bytes": (pa.array([b"ab", None, b""], pa.large_binary()), "bytea", [b"ab", None, b""]),
    "large text": (pa.array(["", None, '"'], pa.large_string()), "text", ["", None, '"']),
    "float32": (
        pa.array([0.1, None, math.inf], pa.float32()), "double precision", [0.10000000149011612, None, math.inf]
    ),
    "uint64": (
        pa.array([2**64 - 1, None, 0], pa.uint64()), "numeric", [decimal.Decimal(2**64 - 1), None, decimal.Decimal(0)]
    ),
    "uint32": (pa.array([2**32 - 1, None, 0], pa.uint32()), "bigint", [2**32 - 1, None, 0]),
    "small decimal": (
        pa.array([decimal.Decimal("0.000000001"), None, decimal.Decimal("-1e20")], pa.decimal128(38, 9)),
        "numeric",
        [decimal.Decimal("0.000000001"), None, decimal.Decimal("-1e20")],
    ),
    "large decimal": (
        pa.array([decimal.Decimal(10) ** 60, None, decimal.Decimal("-0.1")], pa.decimal256(76, 4)),
        "numeric",
        [decimal.Decimal(10) ** 60, None, decimal.Decimal("-0.1")],
    ),
    "seconds": (pa.array([1, None, -1], pa.timestamp("s")), "timestamp without time zone",
                [datetime.datetime(1970, 1, 1, 0, 0, 1), None, datetime.datetime(1969, 12, 31, 23, 59, 59)]),
    "nanoseconds that are microseconds": (
        pa.array([1000, None, 0], pa.timestamp("ns")), "timestamp without time zone",
        [datetime.datetime(1970, 1, 1, 0, 0, 0, 1), None, datetime.datetime(1970, 1, 1)],
    ),
    "instants": (pa.array([AT, None, AT], pa.timestamp("us", "Europe/Rome")), "timestamp with time zone",
                 [AT.replace(tzinfo=datetime.UTC), None, AT.replace(tzinfo=datetime.UTC)]),
    "times": (
        pa.array([AT.time(), None, AT.time()], pa.time64("ns")), "time without time zone", [AT.time(), None, AT.time()]
    ),
    "milliseconds of a day": (pa.array([1, None, 0], pa.time32("ms")), "time without time zone",
                              [datetime.time(0, 0, 0, 1000), None, datetime.time(0)]),
    "date64": (pa.array([DAY, None, DAY], pa.date64()), "date", [DAY, None, DAY]),
    "list of bytes": (
        pa.array([[b"\0\1", None], None, []], pa.list_(pa.binary())), "jsonb", [["\\x0001", None], None, []]
    ),
    "struct with a decimal": (
        pa.array([{"d": decimal.Decimal("1.10"), "x": 1.5}, None, {"d": None, "x": math.nan}],
                 pa.struct([("d", pa.decimal128(5, 2)), ("x", pa.float64())])),
        "jsonb", [{"d": 1.1, "x": 1.5}, None, {"d": None, "x": "NaN"}],
    ),
    "map": (pa.array([[("a", 1), ("a", 2)], None, []], pa.map_(pa.string(), pa.int64())), "jsonb",
            [[["a", 1], ["a", 2]], None, []]),
    "list view": (pa.array([[1, 2], None, []], pa.list_(pa.int32(), -1)), "jsonb", [[1, 2], None, []]),
    "list of a fixed size": (
        pa.array([[1, 2], None, [3, None]], pa.list_(pa.int32(), 2)), "jsonb", [[1, 2], None, [3, None]]
    ),
    "nothing": (pa.nulls(3), "text", [None, None, None]),
}  # fmt: skip


@pytest.mark.fast_cases(12)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("what", ARRAYS)
def test_an_arrow_type_arrives_as_its_values(connection: Connection, load: Load, what: str) -> None:
    array, kind, values = ARRAYS[what]

    loaded = load("a.parquet", parquet(pa.table({"c": array})))

    assert types_of(connection, "dev_loaded_a")["c"] == kind
    assert [row[0] for row in rows_of(connection, loaded)] == values


def test_a_table_of_many_types_at_once_arrives_by_binary_copy_as_by_csv(
    connection: Connection, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    rows = 5_000
    table = pa.table({
        "i": pa.array([rng.randrange(-(2**63), 2**63) for _ in range(rows)]),
        "f": pa.array([rng.choice([rng.random() * 10.0 ** rng.randrange(-300, 300), math.nan]) for _ in range(rows)]),
        "t": pa.array([None if n % 7 == 0 else chr(rng.randrange(32, 0xD800)) * (n % 9) for n in range(rows)]),
        "d": pa.array([decimal.Decimal(rng.randrange(-(10**9), 10**9)).scaleb(-6) for _ in range(rows)],
                      pa.decimal128(20, 6)),
        "at": pa.array([rng.randrange(-(10**16), 10**17) for _ in range(rows)], pa.timestamp("us")),
        "day": pa.array([rng.randrange(-700_000, 2_900_000) for _ in range(rows)], pa.date32()),
        "b": pa.array([None if n % 3 == 0 else n % 2 == 0 for n in range(rows)]),
        "l": pa.array([[n, None] if n % 2 else None for n in range(rows)]),
    })  # fmt: skip

    load("binary.parquet", parquet(table))
    monkeypatch.setitem(sys.modules, "pgpq", None)
    load("csv.parquet", parquet(table))

    differ = (
        "SELECT count(*) AS n FROM (SELECT {0} FROM dev_loaded_binary EXCEPT ALL SELECT {0} FROM dev_loaded_csv) AS x"
    )
    (row,) = connection.execute(sql.SQL(differ).format(sql.SQL(", ").join(map(sql.Identifier, table.column_names))))
    assert row["n"] == 0


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    "array",
    [
        pa.array([1001], pa.timestamp("ns")),
        pa.array([1001], pa.time64("ns")),
        pa.array([2**62], pa.timestamp("ms")),
        pa.array([-(2**62)], pa.timestamp("us")),
        pa.array([-(2**63) + 1], pa.timestamp("us")),
        pa.array([-(2**31)], pa.date32()),
        pa.array(["a\0b"], pa.string()),
        pa.array([b"\xff"], pa.binary()).view(pa.string()),
    ],
    ids=[
        "nanoseconds",
        "nanoseconds of a day",
        "beyond microseconds",
        "beyond PostgreSQL",
        "the first",
        "a day",
        "NUL",
        "no UTF-8",
    ],
)
def test_a_value_that_postgresql_cannot_keep_is_rejected(load: Load, array: pa.Array) -> None:
    with pytest.raises(Reject, match=r"a\.parquet"):
        load("a.parquet", parquet(pa.table({"c": array})))


@pytest.mark.usefixtures("way")
def test_a_column_that_is_there_decides(connection: Connection, load: Load) -> None:
    connection.execute(
        "CREATE TABLE dev_loaded_a (i integer, n numeric(6, 2), j jsonb, t varchar(3), s text, v double precision)"
    )
    table = pa.table({"i": [1, 2], "n": [1, 2], "j": ["x", "1"], "t": ["abc", None], "s": [1.5, None], "v": [7, 2**53]})

    loaded = load("a.parquet", parquet(table))

    assert rows_of(connection, loaded) == [
        (1, decimal.Decimal("1.00"), "x", "abc", "1.5", 7.0),
        (2, decimal.Decimal("2.00"), "1", None, None, 2.0**53),
    ]
    with pytest.raises(Reject, match=r"a\.parquet, row 2: value \"2147483648\" is out of range for type integer"):
        load("a.parquet", parquet(pa.table({"i": [1, 2**31]})), id="2")


def test_what_duckdb_writes_arrives(connection: Connection, load: Load, tmp_path: Any) -> None:
    path = tmp_path / "duck.parquet"
    duckdb.sql(
        "COPY (SELECT uuid '00000000-0000-0000-0000-000000000001' AS u, 1.10::decimal(9,2) AS d, [1, 2] AS l, "
        "{'a': 'x'} AS s, 170141183460469231731687303715884105727::hugeint AS h, 'a'::blob AS b, "
        "timestamptz '2024-02-29 12:00:00+02' AS at, time '12:30' AS t, '{\"k\": 1}'::json AS j) "
        f"TO '{path}' (FORMAT parquet)"
    )

    loaded = load("duck.parquet", path.read_bytes())

    (row,) = rows_of(connection, loaded)
    assert row[:4] == (uuid.UUID(int=1), decimal.Decimal("1.10"), [1, 2], {"a": "x"})
    assert float(row[4]) == 2.0**127
    assert row[5] == b"a"
    assert row[6] == datetime.datetime(2024, 2, 29, 10, tzinfo=datetime.UTC)
    assert row[7] == datetime.time(12, 30)
    assert row[8] in ({"k": 1}, '{"k": 1}', json.dumps({"k": 1}))


def test_two_columns_of_a_name_arrive_as_two(connection: Connection, load: Load) -> None:
    target = io.BytesIO()
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, target)

    loaded = load("a.parquet", target.getvalue())

    assert (loaded["columns"], rows_of(connection, loaded)) == (["a", "a_2"], [(1, 2)])
