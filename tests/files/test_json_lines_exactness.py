"""JSON lines: every digit, every key, nested values as they are; the type of a column that is there decides."""

from __future__ import annotations

import decimal
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from opskit.errors import Reject
from opskit.files import text
from opskit.files.inspecting import inspect_file
from tests.support.loads import Connection, Load, MakeFile, RealDesk, claimed, rows_of, tables


@pytest.fixture(params=["msgspec", "python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read a line."""
    if request.param == "python":
        monkeypatch.setitem(sys.modules, "msgspec", None)
    return str(request.param)


def as_text(connection: Connection, loaded: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows with nested values as PostgreSQL writes them: their digits, not Python's."""
    names = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in loaded["columns"])
    query = sql.SQL("SELECT {} FROM {} ORDER BY ctid").format(names, sql.Identifier(loaded["table"]))
    return [tuple(row.values()) for row in connection.execute(query)]


@pytest.mark.usefixtures("reader")
def test_every_digit_arrives_nested_or_not(connection: Connection, load: Load) -> None:
    lines = [
        '{"n": 0.1234567890123456789, "in": {"deep": [12345678901234567890123, 1.10, 1E400, 0.12345678901234567890]}}',
        '{"n": -0.0, "in": [' + "9" * 5000 + "]}",
        '{"n": ' + "1" * 6000 + ', "in": {}}',
    ]

    loaded = load("a.jsonl", "\n".join(lines).encode())

    assert as_text(connection, loaded) == [
        (
            "0.1234567890123456789",
            '{"deep": [12345678901234567890123, 1.10, 1' + "0" * 400 + ", 0.12345678901234567890]}",
        ),
        ("-0.0", f"[{'9' * 5000}]"),
        ("1" * 6000, "{}"),
    ]


@pytest.mark.usefixtures("reader")
def test_values_without_a_backslash_arrive_as_those_with_one_do(connection: Connection, load: Load) -> None:
    rows = [
        ("plain", True),
        ('say "so"', False),
        ("null", None),
        ("tab\tand\nline", "[1]"),
        ("ünï€𝄞", ""),
        ("{}", "\\"),
    ]
    lines = [json.dumps({"a": a, "b": b}, ensure_ascii=escaped) for escaped in (True, False) for a, b in rows]

    loaded = load("a.jsonl", "\n".join(lines).encode())

    expected = [(a, str(b).lower() if isinstance(b, bool) else b) for a, b in rows]
    assert rows_of(connection, loaded) == expected * 2


@pytest.mark.usefixtures("reader")
def test_a_column_that_is_jsonb_takes_every_value_as_json(connection: Connection, load: Load) -> None:
    load("a.jsonl", b'{"payload": {"k": 1}}', id="1")
    values = ["hello", "123", "null", 'a "quoted"\\ one', 1.5, True, None, [], ""]

    loaded = load("a.jsonl", "\n".join(json.dumps({"payload": value}) for value in values).encode(), id="2")

    rows = connection.execute("SELECT payload FROM dev_loaded_a WHERE _file_id = '2' ORDER BY ctid").fetchall()
    assert [row["payload"] for row in rows] == values
    assert loaded["rows"] == len(values)


@pytest.mark.usefixtures("reader")
def test_a_column_that_is_text_takes_nested_values_as_they_are_written(connection: Connection, load: Load) -> None:
    load("a.jsonl", b'{"payload": "hello"}', id="1")

    load("a.jsonl", b'{"payload": {"k": [1.10, "x\\"y"]}}', id="2")

    rows = connection.execute("SELECT payload FROM dev_loaded_a ORDER BY _file_id").fetchall()
    assert [row["payload"] for row in rows] == ["hello", '{"k": [1.10, "x\\"y"]}']


def test_a_column_of_another_type_takes_what_fits(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (n numeric, b boolean, _file_id text)")

    load("a.jsonl", b'{"n": 1.10, "b": true}\n{"n": "2", "b": "f"}')

    assert rows_of(connection, {"table": "dev_loaded_a", "columns": ["n", "b"]}) == [
        (decimal.Decimal("1.10"), True),
        (decimal.Decimal("2"), False),
    ]
    with pytest.raises(Reject, match=r'a\.jsonl, line 4: invalid input syntax for type numeric: "x"'):
        load("a.jsonl", b'{"n": 1}\n\n{"n": null, "b": null}\n{"n": "x"}', id="2")


def test_a_line_is_told_though_rows_before_it_hold_line_breaks(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (n bigint, t text, _file_id text)")

    with pytest.raises(Reject, match=r"a\.jsonl, line 5: invalid input syntax"):
        load("a.jsonl", b'{"n": 1, "t": "a\\nb\\nc"}\n\n\n{"n": 2, "t": "d\\ne"}\n{"n": "x", "t": "f\\ng"}\n{"n": 3}')


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
        ('{"a": "x", "b": 1, "a": null}', "the key 'a' is there twice"),
        ('{"a": [1, 2], "a": {"b": "]"}}', "the key 'a' is there twice"),
        ('{"a": 1} {"a": 2}', "Extra data at character 10"),
        ('{"a": 01}', "Expecting ',' delimiter at character 8"),
        ('{"a": 1,}', ""),
        ("{'a': 1}", "Expecting property name"),
        ('{"a": "\t"}', "Invalid control character"),
        ('["a"]', "not a JSON object"),
        ('"a"', "not a JSON object"),
        ("nonsense", "Expecting value"),
    ],
)
def test_a_line_that_would_lose_something_is_rejected(
    connection: Connection, load: Load, line: str, sentence: str
) -> None:
    with pytest.raises(Reject, match=r"a\.jsonl, line 3: " + sentence) as caught:
        load("a.jsonl", f'{{"a": 1}}\n\n{line}\n{{"a": 2}}'.encode())

    assert "\n" not in str(caught.value)
    assert tables(connection) == []


def test_an_object_on_two_lines_is_rejected(load: Load) -> None:
    with pytest.raises(Reject, match=r"a\.jsonl, line 1: "):
        load("a.jsonl", b'{"a":\n1}\n{"a": 2} {"a": 3}\n')


@pytest.mark.fast_cases(4)
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("block", [1, 7, 64])
def test_rows_do_not_depend_on_where_blocks_end(
    connection: Connection, load: Load, monkeypatch: pytest.MonkeyPatch, block: int, tmp_path: Path
) -> None:
    monkeypatch.setattr(text, "BLOCK", block)
    content = '\ufeff{"a": "ä\\n", "b": null}\r\n\r\n  \n{"b": [1, "}"]}\n\n{"c": 1}\n\x1a'.encode()

    loaded = load("a.jsonl", content)

    assert rows_of(connection, loaded) == [("ä\n", None, None), (None, [1, "}"], None), (None, None, "1")]
    assert inspect_file(claimed(tmp_path / "a.jsonl", RealDesk()))["rows"] == 3


def test_blank_lines_are_not_counted(make_file: MakeFile) -> None:
    assert inspect_file(make_file("a.jsonl", b'\n \n{"a": 1}\n\t\r\n\n{"a": 2}\n\n'))["rows"] == 2
