"""Each statement of a node changes only what is the node's own: its claim by the token, its row by the boot."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import NotClaimableError
from opskit.queue import claims
from opskit.queue.server_id import Boot
from tests.support.tables import boot, claimed, files, put, put_node, row, run

pytestmark = pytest.mark.one_database

STRANGER = str(uuid.UUID(int=7))
GIVEN: dict[str, dict[str, Any]] = {
    "complete": {"result": "null"},
    "fail": {
        "outcome": "raised", "error": "it broke", "identity": "", "max_failures": 3, "retry_seconds": 0,
        "wait_seconds": "", "actor": "test",
    },
    "release": {"reason": "drained", "actor": "test"},
    "defer": {"reason": "busy", "after_seconds": 60, "counted": False, "most": 20, "max_failures": 3, "actor": "test"},
    "interrupt": {
        "reason": "away", "most": 20, "on_orphan": "requeue", "max_failures": 3, "retry_seconds": 0, "actor": "test",
    },
    "cancelled": {"actor": "test"},
}  # fmt: skip
UNHARMED = ("release", "defer", "interrupt")


def ended(db: Database, name: str, id: str, token: str, **given: Any) -> str:
    """End an attempt by one of the statements; its answer."""
    return str(db.one(name, id=id, token=token, **{**GIVEN[name], **given})["answer"])


def everything(db: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables."""
    with db.connection() as connection:
        return {
            name: run(connection, f"SELECT * FROM {db.names[name]} ORDER BY 1")
            for name in ("files", "nodes", "events", "pauses")
        }


# -- the token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GIVEN)
def test_an_attempt_is_ended_under_its_token_alone(db: Database, name: str) -> None:
    id, token = claimed(db)
    claimed(db, "node-b")
    before = everything(db)

    assert ended(db, name, id, STRANGER) == "lost"
    assert everything(db) == before
    assert ended(db, name, id, token) in ("done", "queued", "failed")
    assert [one["processing_status"] for one in everything(db)["files"] if str(one["id"]) != id] == ["processing"]


@pytest.mark.parametrize("name", [name for name in GIVEN if name not in ("complete", "cancelled")])
def test_an_attempt_whose_cancellation_was_asked_for_is_ended_by_the_cancellation_alone(
    db: Database, name: str
) -> None:
    id, token = claimed(db)
    put_node(db, "node-a", f"cancel_token = '{token}'")
    before = everything(db)

    assert ended(db, name, id, token) == "cancelled"
    assert everything(db) == before
    assert ended(db, "cancelled", id, token) == "failed"


@pytest.mark.parametrize("name", UNHARMED)
def test_an_attempt_that_is_given_back_costs_nothing(db: Database, name: str) -> None:
    id, token = claimed(db)
    put(db, id, "processing_failures = 2")

    assert ended(db, name, id, token) == "queued"
    assert row(db, id)["processing_failures"] == 2


@pytest.mark.parametrize("name", ["defer", "interrupt"])
def test_what_costs_nothing_is_bounded_and_counted_since_the_last_requeue(db: Database, name: str) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    answers = []
    for _ in range(4):
        answer = claims.claim_one(db, node, id)
        answers.append(ended(db, name, id, answer.token, most=2, max_failures=2, after_seconds=0) if name == "defer"
                       else ended(db, name, id, answer.token, most=2, max_failures=2))  # fmt: skip

    assert answers == ["queued", "queued", "queued", "failed"]
    # The application queues it again by an UPDATE of its own.
    put(db, id, "processing_status = 'queued', processing_failures = 0")
    answer = claims.claim_one(db, node, id)
    assert ended(db, name, id, answer.token, most=1, max_failures=1) == "queued"


def test_a_result_is_stored_under_the_token_that_completed_the_file(db: Database) -> None:
    id, token = claimed(db)
    claims.complete(db, id=id, token=token)

    assert db.run("store_result", id=id, token=STRANGER, result='{"rows": 1}') == []
    assert row(db, id)["processing_result"] is None
    assert len(db.run("store_result", id=id, token=token, result='{"rows": 1}')) == 1


def test_the_end_of_a_transaction_is_written_to_the_file_that_it_completed(db: Database) -> None:
    (id, token), (other, second) = claimed(db), claimed(db, "node-b")
    for each, its in ((id, token), (other, second)):
        claims.complete(db, id=each, token=its)
        put(db, each, "processing_completed_at = '2020-01-01'")

    db.run("ended_now", id=id, token=STRANGER)
    assert row(db, id)["processing_completed_at"].year == 2020
    db.run("ended_now", id=id, token=token)
    assert row(db, id)["processing_completed_at"].year != 2020
    assert row(db, other)["processing_completed_at"].year == 2020


# -- the boot ------------------------------------------------------------------------------------------

NODES: dict[str, dict[str, Any]] = {
    "heartbeat": {
        "token": "",
        "progress_done": "",
        "progress_total": "",
        "progress_age_seconds": "",
        "memory_bytes": "",
    },
    "advance": {},
    "deregister": {"reason": "over"},
    "probe": {},
    "recover": {},
    "rest": {"streak_seconds": 1},
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_changes_its_own_row_under_its_own_boot_alone(db: Database, name: str) -> None:
    mine, _ = boot(db, "node-a"), boot(db, "node-b")
    for server_id in ("node-a", "node-b"):
        put_node(db, server_id, "state = 'quarantined', probe_at = now(), beat_at = '2020-01-01'")
    before = everything(db)

    db.run(name, server_id="node-a", boot=STRANGER, **NODES[name])
    assert everything(db) == before
    db.run(name, server_id="node-a", boot=mine.boot, **NODES[name])
    after = everything(db)["nodes"]
    assert [one["server_id"] for one, was in zip(after, before["nodes"], strict=True) if one != was] == ["node-a"]


@pytest.mark.parametrize("name", ["probe", "recover"])
def test_only_a_node_in_quarantine_is_probed_and_recovers(db: Database, name: str) -> None:
    mine = boot(db)
    before = everything(db)

    assert db.run(name, server_id="node-a", boot=mine.boot) == []
    assert everything(db) == before


def test_a_state_is_set_on_the_node_that_is_named_and_on_none_that_has_stopped(db: Database) -> None:
    boot(db, "node-a"), boot(db, "node-b")
    given = {"state": "draining", "actor": "me", "reason": ""}

    assert [one["server_id"] for one in db.run("set_state", server_id="node-a", **given)] == ["node-a"]
    put_node(db, "node-b", "stopped_at = now()")
    assert db.run("set_state", server_id="node-b", **given) == []
    assert [one["state"] for one in everything(db)["nodes"]] == ["draining", "active"]


# -- what is claimed -------------------------------------------------------------------------------------


def changed(db: Database, node: Boot, how: str, id: str) -> Boot:
    """Something that keeps a node from a file."""
    if how in ("deleted", "later", "ended"):
        put(db, id, {"deleted": "deleted = true", "later": "processing_queued_at = now() + interval '1 hour'",
                     "ended": "processing_status = 'failed'"}[how])  # fmt: skip
    elif how == "boot":
        return dataclasses.replace(node, boot=STRANGER)
    elif how == "epoch":
        return dataclasses.replace(node, epoch=node.epoch - 1)
    else:
        put_node(db, node.server_id, {"state": "state = 'draining'", "paused": "paused = true",
                                      "lease": "lease_until = now() - interval '1 second'"}[how])  # fmt: skip
    return node


HOWS = ("deleted", "later", "ended", "boot", "epoch", "state", "lease")


@pytest.mark.parametrize("how", HOWS)
def test_a_file_is_claimed_that_is_due_by_a_node_that_is_well(db: Database, how: str) -> None:
    (id,) = files(db, "a")
    node = changed(db, boot(db), how, id)

    assert claims.claim(db, node).row is None
    assert row(db, id)["processing_token"] is None


@pytest.mark.parametrize("how", ["deleted", "ended", "boot", "epoch"])
def test_a_file_is_claimed_by_hand_that_is_queued_by_a_node_that_is_there(db: Database, how: str) -> None:
    (id,) = files(db, "a")
    node = changed(db, boot(db), how, id)

    with contextlib.suppress(NotClaimableError):
        assert claims.claim_one(db, node, id).row is None
    assert row(db, id)["processing_token"] is None


@pytest.mark.parametrize("how", [*HOWS, "paused", "token", "done", "cursor"])
def test_the_next_file_is_claimed_when_it_is_due_and_the_one_in_hand_was_completed(db: Database, how: str) -> None:
    first, next_one = files(db, "first", "next")
    node = boot(db)
    held = claims.claim_one(db, node, first)
    token = held.token
    if how == "token":
        token = STRANGER
    elif how == "done":
        claims.complete(db, id=first, token=token)
    elif how != "cursor":
        node = changed(db, node, how, next_one)
    after = "infinity" if how == "cursor" else "-infinity"

    found = claims.complete_and_claim(
        db, node, id=first, done_token=token, result=None, after=after, token=claims.new_token()
    )

    assert found is None
    assert row(db, next_one)["processing_token"] is None


def test_a_claim_raises_the_attempt_and_takes_the_earlier_completion_away(db: Database) -> None:
    (id, second) = files(db, "a", "b", processing_attempt=4)
    put(db, id, f"processing_done_token = '{STRANGER}', processing_queued_at = '2020-01-01'")
    node = boot(db)

    answer = claims.claim(db, node)
    assert answer.row is not None
    assert (answer.row["id"], answer.row["attempt"], row(db, id)["processing_done_token"]) == (id, 5, None)
    claims.complete_and_claim(
        db, node, id=id, done_token=answer.token, result=None, after="-infinity", token=claims.new_token()
    )
    assert (row(db, second)["processing_attempt"], row(db, id)["processing_failures"]) == (5, 0)
