"""Which claims, lanes and nodes a cancellation touches, where others stand beside them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from opskit.database import Database
from opskit.queue.lanes import NO_COLUMN
from tests.queue.test_cancel_rules import cancel, events, locked, told
from tests.queue.test_lane_rules import laned
from tests.support.tables import application, boot, claimed, files, put, put_node, row, run

__all__ = ["laned"]


def said(db: Database, *ids: str) -> list[tuple[str, str, str]]:
    """Every row of the answer: the file, what became of it, and why."""
    values = {
        "which": "ids", "ids": list(ids), "claims": [], "status": "", "server_id": "", "search": "", "before": "",
        "of_lane": "", "row_limit": 100, "actor": "ann", "reason": "",
    }  # fmt: skip
    return [(one["id"], one["outcome"], one["reason"]) for one in db.run("cancel", **values)]


def test_a_cancel_of_claims_ends_those_that_stand_as_they_were_seen(db: Database) -> None:
    (id, token), (moved, _) = claimed(db), claimed(db, "node-b")
    (queued,) = files(db, "queued")
    seen = [f"{id}/{token}", f"{moved}/earlier", f"{queued}/"]

    assert cancel(db, id, moved, queued, claims=seen) == {id: "failed", queued: "failed"}
    assert (row(db, moved)["processing_status"], told(db)["node-b"], events(db, moved)) == ("processing", None, [])


def test_a_cancel_of_a_lane_ends_its_files_and_none_stands_for_those_without_one(laned: Database) -> None:
    (of_a,), (of_b,), (of_none,) = (files(laned, str(lane), customer=lane) for lane in ("a", "b", None))

    assert cancel(laned, of_lane="a") == {of_a: "failed"}
    assert cancel(laned, of_lane="(none)") == {of_none: "failed"}
    assert row(laned, of_b)["processing_status"] == "queued"


def test_where_lanes_are_off_every_file_is_without_one(db: Database) -> None:
    (id,) = files(db, "a")
    assert db.names["lane_column"] == NO_COLUMN == "processing_status"

    assert cancel(db, of_lane="queued") == {}
    assert cancel(db, of_lane="(none)") == {id: "failed"}


def test_each_node_is_told_once_of_its_own_claim_and_each_file_is_answered_once(db: Database) -> None:
    (id, token), (other, second) = claimed(db), claimed(db, "node-b")
    reason = "its processor has the row locked: its node kills it"

    with contextlib.ExitStack() as stack:
        for one in (id, other):
            stack.enter_context(locked(db, one))
        for _ in range(2):
            assert said(db, id, other) == [(id, "asked", reason), (other, "asked", reason)]

    assert told(db) == {"node-a": token, "node-b": second}
    assert (events(db, id), events(db, other)) == (["processing"], ["processing"])


@pytest.mark.parametrize("assignments", ["processing_status = 'processing'", "processing_attempt = 1"])
def test_a_locked_row_that_no_node_holds_is_to_be_cancelled_again(db: Database, assignments: str) -> None:
    (id,) = files(db, "a")
    boot(db)
    put(db, id, f"processing_server_id = 'node-a', processing_started_at = now(), {assignments}")

    with locked(db, id):
        assert said(db, id) == [(id, "busy", "another transaction has the row locked; cancel it again")]


def test_a_cancel_waits_for_no_node_that_holds_none_of_its_files(db: Database) -> None:
    (id, _), (other, _) = claimed(db), claimed(db, "node-b")
    values: dict[str, Any] = {
        "which": "ids", "ids": [id], "claims": [], "status": "", "server_id": "", "search": "", "before": "",
        "of_lane": "", "row_limit": 100, "actor": "ann", "reason": "",
    }  # fmt: skip
    with application(db.settings) as own, own.transaction(), db.connection() as connection:
        run(own, f"SELECT 1 FROM {db.names['nodes']} WHERE server_id = 'node-b' FOR UPDATE")
        connection.execute("SET lock_timeout = '200ms'")
        assert [one["outcome"] for one in db.run_on(connection, "cancel", **values)] == ["failed"]

    assert row(db, other)["processing_status"] == "processing"


def test_a_node_that_was_told_of_another_claim_is_told_of_this_one(db: Database) -> None:
    id, token = claimed(db)
    boot(db, "node-b")
    put_node(db, "node-b", f"cancel_token = '{token}'")

    assert cancel(db, id) == {id: "failed"}
    assert told(db)["node-a"] == token
