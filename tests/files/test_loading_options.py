"""Options of the loader: table, schema, mode, sheet and types; a file that is loaded again adds nothing twice."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import ProcessorError, Reject, SettingError
from opskit.files.loading import load_table
from opskit.files.processor import load_processor
from opskit.settings import Settings
from tests.support.loads import Connection, Load, RealDesk, claimed, parquet, rows_of, tables, types_of
from tests.support.nodes import ask, counts, running_nodes

NOON = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)


def all_of(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in connection.execute(f'SELECT n, _file_id FROM "{table}" ORDER BY 1, 2')]  # type: ignore[call-overload]


def test_a_file_that_is_loaded_again_takes_the_place_of_its_rows(connection: Connection, load: Load) -> None:
    load("a.csv", b"n\n1\n2\n", id="1")
    load("a.csv", b"n\n3\n", id="2")

    load("a.csv", b"n\n1\n5\n", id="1", attempt=2)

    assert all_of(connection, "dev_loaded_a") == [("1", "1"), ("3", "2"), ("5", "1")]


def test_files_of_another_table_keep_their_rows(
    connection: Connection, load: Load, desk: RealDesk, tmp_path: Path
) -> None:
    load("a.csv", b"n\n1\n", id="1")

    for attempt in (1, 2):
        load_table(claimed(tmp_path / "a.csv", desk, "1", files_table="invoices", attempt=attempt))

    assert all_of(connection, "dev_loaded_a") == [("1", "1"), ("1", "invoices:1")]


def test_a_table_is_named_and_keeps_the_prefix_of_its_environment(connection: Connection, load: Load) -> None:
    connection.execute('CREATE SCHEMA "my schema"')

    loaded = load("a.csv", b"n\n1\n", table='sales "2024"', schema="my schema")

    assert loaded["table"] == 'my schema.dev_sales "2024"'
    assert connection.execute('SELECT n FROM "my schema"."dev_sales ""2024"""').fetchall() == [{"n": "1"}]


def test_replacing_leaves_the_rows_of_the_newest_file(connection: Connection, load: Load) -> None:
    load("a.csv", b"n\n1\n", id="1")

    load("a.csv", b"n\n2\n", id="2", mode="replace")

    assert all_of(connection, "dev_loaded_a") == [("2", "2")]


def test_a_file_that_is_rejected_replaces_nothing(connection: Connection, load: Load) -> None:
    load("a.csv", b"n\n1\n", id="1")

    with pytest.raises(Reject, match="line 3"):
        load("a.csv", b"n\n2\n3,4\n", id="2", mode="replace")

    assert all_of(connection, "dev_loaded_a") == [("1", "1")]


def test_refusing_takes_the_first_file_and_that_one_again(connection: Connection, load: Load) -> None:
    load("a.csv", b"n\n1\n", id="1", mode="refuse")
    load("a.csv", b"n\n1\n", id="1", mode="refuse", attempt=2)

    with pytest.raises(Reject, match=r'a\.csv is refused: "dev_loaded_a" has rows already'):
        load("a.csv", b"n\n2\n", id="2", mode="refuse")

    assert all_of(connection, "dev_loaded_a") == [("1", "1")]


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (["1", "-20", "", "0"], "bigint", [1, -20, None, 0]),
        (["1", "007"], "text", ["1", "007"]),
        (["1", "+1"], "text", ["1", "+1"]),
        (["1", "1.10"], "numeric", [decimal.Decimal("1"), decimal.Decimal("1.10")]),
        (["9223372036854775808"], "numeric", [decimal.Decimal(2**63)]),
        (["1,5"], "text", ["1,5"]),
        (["1e5"], "text", ["1e5"]),
        (["true", "false"], "boolean", [True, False]),
        (["true", "1"], "text", ["true", "1"]),
        (["2024-02-29"], "date", [datetime.date(2024, 2, 29)]),
        (["2023-02-29"], "text", ["2023-02-29"]),
        (["0000-01-01"], "text", ["0000-01-01"]),
        (["2024-02-29T12:30"], "timestamp without time zone", [datetime.datetime(2024, 2, 29, 12, 30)]),
        (["2024-02-29 24:30:00"], "text", ["2024-02-29 24:30:00"]),
        (["2024-02-29T12:30:00Z"], "timestamp with time zone", [NOON]),
        (["01/02/2024"], "text", ["01/02/2024"]),
        (["", ""], "text", [None, None]),
        (["NaN"], "text", ["NaN"]),
    ],
)  # fmt: skip
def test_a_type_is_told_by_every_value(
    connection: Connection, load: Load, values: list[str], kind: str, found: list[Any]
) -> None:
    content = "n;x\n" + "".join(f"{value};\n" for value in values)

    loaded = load("a.csv", content.encode(), typed=True)

    assert types_of(connection, "dev_loaded_a")["n"] == kind
    assert [row[0] for row in rows_of(connection, loaded)] == found


@pytest.mark.slow
def test_the_last_of_many_values_decides(connection: Connection, load: Load) -> None:
    content = b"n,m\n" + b"1,1\n" * 200_000 + b"x,1\n"

    loaded = load("a.csv", content, typed="1")

    assert loaded["types"] == {"n": "text", "m": "bigint"}
    assert loaded["rows"] == 200_001


def test_a_column_that_is_there_keeps_its_type_when_others_are_typed(connection: Connection, load: Load) -> None:
    load("a.csv", b"n,m\n1,1\n", typed=True)

    load("a.csv", b"n,m,o\n2,2,2024-01-01\n", id="2", typed=True)

    assert types_of(connection, "dev_loaded_a") == {"_file_id": "text", "n": "bigint", "m": "bigint", "o": "date"}
    with pytest.raises(Reject, match=r'a\.csv: invalid input syntax for type bigint: "x"'):
        load("a.csv", b"n,m\n1,1\nx,1\n", id="3", typed=True)


def test_json_and_parquet_are_typed_too(connection: Connection, load: Load) -> None:
    load("a.jsonl", b'{"n": 1, "in": [1], "t": "x"}\n{"n": 2}', typed=True)
    load("b.parquet", parquet(pa.table({"n": [1.5]})), typed=True)

    assert types_of(connection, "dev_loaded_a") == {"_file_id": "text", "n": "bigint", "in": "jsonb", "t": "text"}
    assert types_of(connection, "dev_loaded_b")["n"] == "double precision"


@pytest.mark.parametrize("options", [{"mode": "upsert"}, {"typed": "perhaps"}])
def test_an_option_that_cannot_be_used_is_named(connection: Connection, load: Load, options: dict[str, Any]) -> None:
    (value,) = options.values()

    with pytest.raises(SettingError, match=f"'{value}'; it must be"):
        load("a.csv", b"n\n1\n", **options)

    assert tables(connection) == []


def test_options_stand_in_the_name_of_a_processor(connection: Connection, desk: RealDesk, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"n:m\n1:2\n")
    processor = load_processor("opskit.processors:load_table?table=Größe%20X&typed=1&delimiter=%3A")

    loaded = processor(claimed(tmp_path / "a.csv", desk))

    assert loaded is not None
    assert loaded["table"] == "dev_Größe X"
    assert rows_of(connection, loaded) == [(1, 2)]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [("tabel=x", "got an unexpected keyword argument 'tabel'"), ("table", "bad query field: 'table'")],
)
def test_an_unknown_option_ends_a_node_at_its_start(options: str, sentence: str) -> None:
    with pytest.raises(ProcessorError, match=sentence):
        load_processor(f"opskit.processors:load_table?{options}")


@pytest.mark.slow
def test_a_node_loads_with_options_and_again_after_a_requeue(db: Database, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"n\n1\n2\n")
    queue.enqueue(db, [tmp_path / "a.csv"])
    act = "opskit.processors:load_table?table=mine&typed=1"

    for _ in range(2):
        with running_nodes(db, tmp_path) as start:
            assert start("node-a", "--drain", act=act).end() == 0
        assert counts(db) == {"completed": 1}
        assert [row["n"] for row in ask(db, "SELECT n FROM dev_mine ORDER BY n")] == [1, 2]
        queue.requeue(db, ["1"])


@pytest.mark.slow
def test_a_memory_limit_rejects_the_file_and_keeps_the_node(db: Database, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def process(file):\n    return {'n': len(bytes(300 << 20))}\n")
    (tmp_path / "a.csv").write_bytes(b"n\n1\n")
    queue.enqueue(db, [tmp_path / "a.csv"])

    with running_nodes(db, tmp_path) as start:
        limits = {"OPSKIT_MEMORY_LIMIT": "128", "OPSKIT_MAX_FAILURES": "1", "PYTHONPATH": str(tmp_path)}
        assert start("node-a", "--drain", act="a:process", **limits).end() == 0

    (row,) = ask(db, "SELECT processing_status, processing_errors FROM dev_uploaded_files")
    assert row["processing_status"] == "failed"
    assert row["processing_errors"].strip().endswith("MemoryError")


def test_an_encoding_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingError, match="OPSKIT_TEXT_ENCODING is 'klingon'; it must be an encoding"):
        Settings.load({}, text_encoding="klingon")
    with pytest.raises(SettingError, match="OPSKIT_MEMORY_LIMIT is 1; it must be at least 64"):
        Settings.load({}, memory_limit=1)
