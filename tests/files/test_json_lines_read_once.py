"""JSON lines are read once: what comes late is found all the same, and leaves nothing of the first try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opskit.errors import Reject
from opskit.files import text
from opskit.files.claimed import ClaimedFile
from opskit.files.formats import json_lines
from opskit.files.loading import load_table
from tests.files.test_json_lines_exactness import as_text
from tests.support.loads import Connection, Load, RealDesk, claimed, tables, types_of


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and the part that is looked through are so small that a few rows are a large file."""
    monkeypatch.setattr(text, "BLOCK", 64)
    monkeypatch.setattr(json_lines, "_FIRST_PORTION", 200)


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


EARLY = [{"a": number, "b": f"text {number}"} for number in range(50)]


def test_a_file_whose_beginning_shows_all_keys_is_opened_twice_and_read_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = lines(*EARLY)
    (tmp_path / "a.jsonl").write_bytes(content)
    read: list[int] = []
    original = text.blocks_of

    def counted(*given: Any) -> Any:
        for block in original(*given):
            read.append(len(block))
            yield block

    monkeypatch.setattr("opskit.files.readers.blocks_of", counted)

    assert load_table(claimed(tmp_path / "a.jsonl", RealDesk(connection)))["rows"] == len(EARLY)

    assert sum(read) < 1.3 * len(content)


@pytest.mark.parametrize(
    ("late", "columns", "row"),
    [
        ({"a": 1, "b": "x", "c": 2}, ["a", "b", "c"], ("1", "x", "2")),
        ({"c": None}, ["a", "b", "c"], (None, None, None)),
        ({"a": {"k": [1.10]}, "b": "x"}, ["a", "b"], ('{"k": [1.1]}', "x")),
        ({"b": []}, ["a", "b"], (None, "[]")),
        ({"b": "it's [1]", "a": '{"'}, ["a", "b"], ('{"', "it's [1]")),
        ({"": 1, "A": 2, "a ": 3}, ["a", "b", "column_3", "A", "a_2"], (None, None, "1", "2", "3")),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_what_comes_late_is_loaded_as_if_it_had_come_first(
    connection: Connection, load: Load, late: dict[str, Any], columns: list[str], row: tuple[Any, ...], typed: bool
) -> None:
    loaded = load("a.jsonl", lines(*EARLY, late, *EARLY), typed=typed)

    assert (loaded["rows"], loaded["columns"]) == (101, columns)
    found = as_text(connection, loaded)
    assert found[50] == row
    assert [
        tuple(json.loads(cell) if cell and cell[0] == '"' else cell for cell in line[:2]) for line in found[:50]
    ] == [(str(record["a"]), record["b"]) for record in EARLY]
    assert found[:50] == found[51:]


def test_a_column_is_jsonb_when_its_last_value_alone_is_nested(connection: Connection, load: Load) -> None:
    loaded = load("a.jsonl", lines(*EARLY, {"a": {"k": 1}}))

    assert types_of(connection, loaded["table"])["a"] == "jsonb"
    assert types_of(connection, loaded["table"])["b"] == "text"


def test_a_late_key_adds_its_column_to_a_table_that_is_there(connection: Connection, load: Load) -> None:
    load("a.jsonl", lines(*EARLY), id="1")

    loaded = load("a.jsonl", lines(*EARLY, {"late": True}), id="2")

    assert (loaded["rows"], loaded["columns"]) == (51, ["a", "b", "late"])
    assert connection.execute("SELECT count(*) AS n, count(late) AS late FROM dev_loaded_a").fetchone() == {
        "n": 101, "late": 1,
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["replace", "refuse"])
def test_a_late_key_keeps_to_the_mode(connection: Connection, load: Load, mode: str) -> None:
    load("a.jsonl", lines(*EARLY), id="1")
    content = lines(*EARLY, {"late": True})

    if mode == "refuse":
        with pytest.raises(Reject, match="has rows already"):
            load("a.jsonl", content, id="2", mode=mode)
    else:
        load("a.jsonl", content, id="2", mode=mode)

    assert connection.execute("SELECT count(*) AS n FROM dev_loaded_a").fetchone() == {
        "n": 50 if mode == "refuse" else 51
    }


def test_a_file_loaded_again_with_a_late_key_takes_the_place_of_its_own_rows(
    connection: Connection, load: Load
) -> None:
    load("a.jsonl", lines(*EARLY), id="1")

    load("a.jsonl", lines(*EARLY, {"late": 1}), id="1", attempt=2)

    assert connection.execute("SELECT count(*) AS n FROM dev_loaded_a").fetchone() == {"n": 51}


def test_a_bad_line_after_a_late_key_leaves_nothing(connection: Connection, load: Load) -> None:
    with pytest.raises(Reject, match=r"a\.jsonl, line 52: the key 'a' is there twice"):
        load("a.jsonl", lines(*EARLY, {"late": 1}) + b'{"a": 1, "a": 2}\n')

    assert tables(connection) == []


def test_a_value_that_does_not_fit_is_told_with_its_line_after_a_late_key(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (a bigint, b text, _file_id text)")

    with pytest.raises(Reject, match=r'a\.jsonl, line 53: invalid input syntax for type bigint: "x"'):
        load("a.jsonl", lines(*EARLY, {"late": 1}, {}, {"a": "x"}))


def test_a_late_key_is_rejected_where_a_table_cannot_have_so_many(connection: Connection, load: Load) -> None:
    late = {f"k{number}": number for number in range(1600)}

    with pytest.raises(Reject, match=r"a\.jsonl has more columns than a table can have, 1599"):
        load("a.jsonl", lines(*EARLY, late))


def test_empty_objects_at_the_beginning_are_no_file_without_columns(connection: Connection, load: Load) -> None:
    loaded = load("a.jsonl", b"{}\n" * 200 + lines({"a": 1}))

    assert (loaded["rows"], loaded["columns"]) == (201, ["a"])


def test_a_load_that_goes_back_holds_no_lock_of_its_first_try(
    connection: Connection, load: Load, tmp_path: Path
) -> None:
    """Two nodes that both learn of a column late would else wait for each other."""
    load("a.jsonl", lines(*EARLY), id="1")
    (tmp_path / "a.jsonl").write_bytes(lines(*EARLY, {"late": 1}))
    held: list[int] = []

    class Desk(RealDesk):
        def progress(self, done: int | None, total: int | None) -> None:
            query = "SELECT count(*) AS n FROM pg_locks WHERE relation = to_regclass('dev_loaded_a') AND pid = %s"
            info = connection.info
            if info.transaction_status.name == "INTRANS" and connection.pgconn.pipeline_status == 0:
                row = connection.execute(query, (info.backend_pid,)).fetchone()
                held.append(row["n"] if row else 0)

    file: ClaimedFile = claimed(tmp_path / "a.jsonl", Desk(connection), "2")

    assert load_table(file)["columns"] == ["a", "b", "late"]
    assert 0 in held


@pytest.mark.parametrize("key", ['q"', "back\\slash", "tab\there", "new\nline", "ünï€𝄞", " ", "class", "f0"])
@pytest.mark.parametrize("escaped", [True, False])
def test_a_key_may_have_any_character(connection: Connection, load: Load, key: str, escaped: bool) -> None:
    records = [{key: f"text {number}", "b": number} for number in range(50)]
    content = "".join(json.dumps(record, ensure_ascii=escaped) + "\n" for record in records)

    loaded = load("a.jsonl", content.encode())

    assert loaded["columns"] == [key.strip() or "column_1", "b"]
    assert as_text(connection, loaded) == [(f"text {number}", str(number)) for number in range(50)]
