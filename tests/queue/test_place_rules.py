"""Which files are adopted and expedited, and what of an attempt's log is kept: each condition at its edge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opskit.database import Database
from tests.support.nodes import ask
from tests.support.tables import application, claimed, files, put, row, run, states_kept

TOKEN = "00000000-0000-0000-0000-000000000007"
OTHER = "00000000-0000-0000-0000-000000000008"


def statuses(db: Database, *ids: str) -> list[str | None]:
    return [row(db, id)["processing_status"] for id in ids]


# -- adopt -------------------------------------------------------------------------------------


def test_rows_are_adopted_that_are_named_and_wait_without_a_status(db: Database) -> None:
    named, other, deleted, failed = files(db, "a", "b", "c", "d")
    for id in (named, other, deleted):
        put(db, id, "processing_status = NULL")
    put(db, deleted, "deleted = true")
    put(db, failed, "processing_status = 'failed'")

    assert db.one("adopt", ids=[named, deleted, failed], actor="me")["adopted"] == 1
    assert statuses(db, named, other, deleted, failed) == ["queued", None, None, "failed"]
    assert [one["reason"] for one in ask(db, f"SELECT reason FROM {db.names['events']} WHERE kind = %s", "adopt")] == [
        "1 row from before"
    ]


def test_rows_that_a_trigger_keeps_are_not_said_to_be_adopted_and_of_none_nothing_is_noted(db: Database) -> None:
    (id,) = files(db, "a")
    put(db, id, "processing_status = NULL")
    states_kept(db)

    assert db.one("adopt", ids=[id], actor="me")["adopted"] == 0
    assert ask(db, f"SELECT 1 FROM {db.names['events']} WHERE kind = %s", "adopt") == []


# -- expedite ----------------------------------------------------------------------------------


def expedite(db: Database, *ids: str, seconds: float = 3600) -> list[str]:
    with db.connection() as connection:
        connection.execute("SET lock_timeout = '300ms'")
        found = db.run_on(
            connection,
            "expedite",
            which="ids",
            ids=list(ids),
            ahead_seconds=seconds,
            row_limit=10,
            actor="me",
            reason="",
        )
        connection.execute("RESET lock_timeout")
    return [one["id"] for one in found]


def test_files_get_a_head_start_that_are_named_and_queued_and_free(db: Database) -> None:
    named, other, deleted, failed, locked = files(db, "a", "b", "c", "d", "e")
    put(db, deleted, "deleted = true")
    put(db, failed, "processing_status = 'failed'")
    held, _ = claimed(db)
    before = {id: row(db, id) for id in (other, deleted, failed, locked, held)}

    with application(db.settings) as session, session.transaction():
        run(session, f"SELECT 1 FROM {db.settings.files} WHERE id = {locked} FOR UPDATE")
        assert expedite(db, named, deleted, failed, locked, held) == [named]

    assert {id: row(db, id) for id in before} == before
    assert row(db, named)["processing_arrived_at"] is not None


@pytest.mark.parametrize(("place", "arrived", "came"), [("-2 h", None, 2), ("-5 h", "-3 h", 3), ("-2 h", "-4 h", 2),
                                                        ("2 h", None, 0), ("2 h", "-1 h", 0)])  # fmt: skip
def test_a_file_came_at_the_later_of_its_two_times_and_no_later_than_now(
    db: Database, place: str, arrived: str | None, came: float
) -> None:
    (id,) = files(db, "a")
    when = "NULL" if arrived is None else f"now() + interval '{arrived}'"
    put(db, id, f"processing_queued_at = now() + interval '{place}', processing_arrived_at = {when}")

    expedite(db, id, seconds=7200)

    (found,) = ask(
        db,
        "SELECT extract(epoch FROM now() - processing_arrived_at)::float8 / 3600 AS came, "
        "extract(epoch FROM now() - processing_queued_at)::float8 / 3600 AS place "
        f"FROM {db.settings.files} WHERE id = %s",
        id,
    )
    assert (round(found["came"], 1), round(found["place"], 1)) == (came, came + 2)


# -- what an attempt said ----------------------------------------------------------------------


def log(db: Database, *chunks: dict[str, Any]) -> tuple[int, int]:
    found = db.one("log", chunks=json.dumps([{"token": TOKEN, "size": 3, **chunk} for chunk in chunks]))
    return found["added"], found["replaced"]


def texts(db: Database) -> dict[tuple[str, int], str]:
    found = ask(db, f"SELECT token::text AS t, sequence AS n, text FROM {db.names['logs']} WHERE %s", True)
    return {(one["t"], one["n"]): one["text"] for one in found}


def test_a_chunk_is_kept_once_and_takes_the_place_of_its_own_attempts_chunk_alone(db: Database) -> None:
    first = {"sequence": 0, "text": "one"}
    assert log(db, first, {"sequence": 3, "text": "two"}, {**first, "token": OTHER}) == (3, 0)
    assert log(db, first, {"sequence": 3, "text": "new"}) == (0, 0), "an answer was lost"

    assert log(db, {"sequence": 6, "text": "six", "over": 3}) == (0, 1)
    assert texts(db) == {(TOKEN, 0): "one", (TOKEN, 6): "six", (OTHER, 0): "one"}
    assert log(db, {"sequence": None, "text": None, "size": None, "over": 0}) == (0, 1)
    assert texts(db) == {(TOKEN, 0): "", (TOKEN, 6): "six", (OTHER, 0): "one"}
