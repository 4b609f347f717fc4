"""Which failed files a requeue takes by their error, their lane and their state, and that it takes each once."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.database import Database
from tests.queue.test_lane_rules import laned
from tests.support.nodes import ask
from tests.support.tables import files, put, row, states_kept

__all__ = ["laned"]
KNOWN = "jsonb_build_object('attempt', 1, 'error', 'it broke', 'place', '')"


def requeue(db: Database, *ids: str, **given: Any) -> list[str]:
    """Run the statement once; the files that it answers, in its order."""
    values = {
        "which": "ids" if ids else "failed", "ids": list(ids), "attempts": [], "error": "", "server_id": "",
        "of_lane": "", "cancelled": False, "row_limit": 100, "before": "", "actor": "me", "reason": "",
    }  # fmt: skip
    with db.connection() as connection:
        connection.execute("SET statement_timeout = '2s'")
        found = db.run_on(connection, "requeue", **{**values, **given})
        connection.execute("RESET statement_timeout")
    return [one["id"] for one in found]


def failed(db: Database, text: str = "it broke", identity: str = KNOWN, attempt: int = 1, **columns: Any) -> str:
    """A file that failed at an attempt, with a text and an identity."""
    (id,) = files(db, "a", **columns)
    put(
        db,
        id,
        f"processing_status = 'failed', processing_errors = '{text}', processing_failure = {identity}, "
        f"processing_attempt = {attempt}, processing_completed_at = clock_timestamp()",
    )
    return id


def noted(db: Database) -> list[str]:
    """The files of the history's requeues."""
    return [one["file_id"] for one in ask(db, f"SELECT file_id FROM {db.names['events']} WHERE kind = %s", "requeue")]


WAYS = [("", KNOWN), ("it broke", KNOWN), ("it broke", "NULL")]


@pytest.mark.parametrize(("error", "identity"), WAYS)
def test_each_file_is_requeued_and_noted_once_and_no_other_is(db: Database, error: str, identity: str) -> None:
    ids = [failed(db, identity=identity) for _ in range(3)]
    (queued,) = files(db, "queued")
    like = f"processing_errors = 'it broke', processing_failure = {identity}, processing_attempt = 1"
    put(db, queued, f"{like}, processing_failures = 1")

    assert requeue(db, error=error) == ids
    assert sorted(noted(db)) == sorted(ids)
    assert row(db, queued)["processing_failures"] == 1


@pytest.mark.parametrize(("error", "identity"), WAYS)
def test_failed_files_of_a_lane_are_requeued_and_none_stands_for_those_without_one(
    laned: Database, error: str, identity: str
) -> None:
    of_a, of_b, of_none = (failed(laned, identity=identity, customer=lane) for lane in ("a", "b", None))

    assert requeue(laned, error=error, of_lane="a") == [of_a]
    assert requeue(laned, error=error, of_lane="(none)") == [of_none]
    assert row(laned, of_b)["processing_status"] == "failed"


@pytest.mark.parametrize(("error", "identity"), WAYS)
def test_where_lanes_are_off_every_failed_file_is_without_one(db: Database, error: str, identity: str) -> None:
    id = failed(db, identity=identity)

    assert requeue(db, error=error, of_lane="failed") == []
    assert requeue(db, error=error, of_lane="(none)") == [id]


@pytest.mark.parametrize("identity", [KNOWN, "NULL"])
def test_files_that_are_named_are_not_taken_by_an_error(db: Database, identity: str) -> None:
    id, other = failed(db, identity=identity), failed(db, identity=identity)

    assert requeue(db, id, error="it broke") == []
    assert requeue(db, id) == [id]
    assert row(db, other)["processing_status"] == "failed"


def test_an_error_is_that_of_a_files_last_attempt(db: Database) -> None:
    other = KNOWN.replace("it broke", "else")
    ours = failed(db)
    stale = failed(db, text="else", attempt=2)  # its identity is of an earlier attempt: the text serves
    theirs = failed(db, text="it broke", identity=other)
    told = failed(db, text="else", identity="NULL")

    assert requeue(db, error="it broke") == [ours]
    assert requeue(db, error="else") == [stale, theirs, told]


def test_a_text_that_names_another_error_is_not_taken_by_this_one(db: Database) -> None:
    failed(db, text="else", identity="NULL")
    failed(db, text="else", identity=KNOWN.replace("it broke", "else"))

    assert requeue(db, error="it broke") == []


@pytest.mark.parametrize("error", ["", "it broke", "else"])
def test_files_that_a_trigger_keeps_are_not_said_to_be_requeued(db: Database, error: str) -> None:
    failed(db), failed(db, text="else", identity="NULL")
    states_kept(db)

    assert (requeue(db, error=error), noted(db)) == ([], [])


def test_a_cancelled_file_is_left_out_while_its_cancellation_is_that_of_its_last_attempt(db: Database) -> None:
    cancelled = "jsonb_build_object('attempt', 1, 'error', 'Cancelled', 'place', '', 'cancelled', true)"
    left = failed(db, identity=cancelled)
    since = failed(db, identity=cancelled, attempt=2)
    plain, unnamed = failed(db), failed(db, identity="NULL")

    assert requeue(db) == [since, plain, unnamed]
    assert requeue(db, cancelled=True) == [left]
