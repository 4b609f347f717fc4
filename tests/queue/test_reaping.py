"""Dead nodes, orphans and claims without progress: ended after two looks, for the true reason."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from tests.support.cleaning import cleanup, ended, lease_ended
from tests.support.tables import attempts, boot, claimed, files, put, put_node, row, rows


def looked(db: Database, server_id: str, ago: str) -> None:
    """Move the look that has been taken at a node into the past."""
    past = f"interval '{ago}'"
    put_node(db, server_id, f"looked_at = looked_at - {past}, stale_at = stale_at - {past}")


# -- claims of dead nodes --------------------------------------------------------------------


def test_a_dead_nodes_claim_needs_a_look_at_least_two_seconds_old(db: Database) -> None:
    id, _ = claimed(db, "dead")
    lease_ended(db, "dead")

    first, at_once = cleanup(db), cleanup(db)
    looked(db, "dead", "0.5 seconds")
    too_soon = cleanup(db)
    looked(db, "dead", "2 seconds")
    then = cleanup(db)

    assert [[each["id"] for each in done.pending] for done in (first, at_once, too_soon)] == [[id]] * 3
    assert [done.ended for done in (first, at_once, too_soon)] == [[], [], []]
    assert "second look" in first.pending[0]["reason"]
    assert ended(then) == [(id, "dead", "queued")]
    after, (event,) = row(db, id), attempts(db, id)
    assert (after["processing_status"], after["processing_failures"], after["processing_server_id"]) == (
        "queued",
        1,
        None,
    )
    assert (event["outcome"], event["next_status"], event["server_id"]) == ("orphaned", "queued", "dead")
    assert "dead has been silent since" in event["reason"]


def test_a_node_that_came_back_between_the_looks_keeps_its_claim(db: Database) -> None:
    id, _ = claimed(db, "slow")
    lease_ended(db, "slow", "1 minute")
    first = cleanup(db)
    looked(db, "slow", "10 seconds")
    # It has beaten since, and fallen silent again: another lease end than the one that was looked at.
    lease_ended(db, "slow", "30 seconds")

    second = cleanup(db)

    assert [each["id"] for each in first.pending + second.pending] == [id, id]
    assert second.ended == []
    looked(db, "slow", "10 seconds")
    assert ended(cleanup(db)) == [(id, "dead", "queued")]


def test_a_heartbeat_after_the_look_keeps_the_claim(db: Database) -> None:
    id, token = claimed(db, "slow")
    (held,) = claims.held(db, "slow")
    lease_ended(db, "slow")
    cleanup(db)
    looked(db, "slow", "10 seconds")
    with db.connection() as connection:
        own = str(rows(connection, db.names["nodes"])[0]["boot"])

    beat = nodes.heartbeat(db, Boot("slow", own, held["epoch"]), token=token)

    done = cleanup(db)
    assert beat is not None
    assert beat.holds
    assert (done.ended, done.pending) == ([], [])
    assert row(db, id)["processing_status"] == "processing"


def test_a_preview_counts_as_the_first_look_unless_it_only_reads(db: Database) -> None:
    id, _ = claimed(db, "dead")
    lease_ended(db, "dead")

    reads_only = queue.preview(db, look=False)
    with db.connection() as connection:
        untouched = rows(connection, db.names["nodes"])[0]["looked_at"]
    queue.preview(db)
    looked(db, "dead", "3 seconds")

    assert ([each["verdict"] for each in reads_only], untouched) == (["silent"], None)
    assert ended(cleanup(db)) == [(id, "dead", "queued")]


def test_nodes_reap_after_a_third_of_the_dead_nodes_own_lease(db: Database) -> None:
    id, _ = claimed(db, "dead", lease_seconds=60.0)
    lease_ended(db, "dead")
    first = cleanup(db, look_seconds=None)
    looked(db, "dead", "19 seconds")
    second = cleanup(db, look_seconds=None)
    looked(db, "dead", "2 seconds")

    third = cleanup(db, look_seconds=None)

    assert [len(done.pending) for done in (first, second)] == [1, 1]
    assert ended(third) == [(id, "dead", "queued")]


@pytest.mark.parametrize(
    ("policy", "before", "state"),
    [
        ({"max_failures": 3}, 0, "queued"),
        ({"max_failures": 3}, 1, "queued"),
        ({"max_failures": 3}, 2, "failed"),
        ({"max_failures": 1}, 0, "failed"),
        ({"max_failures": 9}, 7, "queued"),
        ({"max_failures": 9, "on_orphan": "fail"}, 0, "failed"),
    ],
)
@pytest.mark.parametrize("how", ["dead", "rebooted"])
def test_an_orphan_is_queued_again_by_its_owners_policy(
    db: Database, how: str, policy: dict[str, Any], before: int, state: str
) -> None:
    # The caller thinks otherwise: 3 failures, requeue.
    id, _ = claimed(db, "owner", **policy)
    put(db, id, f"processing_failures = {before}")
    lease_ended(db, "owner")
    if how == "rebooted":
        boot(db, "owner", **policy)
    else:
        cleanup(db)
        looked(db, "owner", "3 seconds")
    (seen,) = queue.preview(db)

    done = cleanup(db)

    after = row(db, id)
    assert (seen["would_become"], ended(done)) == (state, [(id, how, state)])
    assert (after["processing_status"], after["processing_failures"]) == (state, before + 1)
    assert (after["processing_server_id"], after["processing_completed_at"] is None) == (
        ("owner", False) if state == "failed" else (None, True)
    )


def test_a_file_that_kills_its_nodes_fails_when_its_budget_is_spent(db: Database) -> None:
    (id,) = files(db, "killer")
    states = []
    for n in range(3):
        claims.claim(db, boot(db, f"node-{n}", lease_seconds=600.0))
        lease_ended(db, f"node-{n}")
        cleanup(db)
        looked(db, f"node-{n}", "3 seconds")
        states += [each["outcome"] for each in cleanup(db).ended]

    assert states == ["queued", "queued", "failed"]
    assert row(db, id)["processing_attempt"] == 3
    assert [event["server_id"] for event in attempts(db, id)] == ["node-2", "node-1", "node-0"]


# -- claims of living nodes ------------------------------------------------------------------


def test_a_living_nodes_claim_without_progress_needs_two_looks_and_then_fails(db: Database) -> None:
    id, token = claimed(db, "stuck", stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")

    first = cleanup(db)
    looked(db, "stuck", "3 seconds")
    second = cleanup(db)

    assert [(each["id"], each["verdict"]) for each in first.pending] == [(id, "stuck")]
    assert "no progress" in first.pending[0]["reason"]
    assert ended(second) == [(id, "hung", "failed")]
    assert row(db, id)["processing_errors"] == "Processing timeout: no progress for 11 minutes on stuck"
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)


@pytest.mark.parametrize("moved", ["before the first look", "between the looks"])
def test_a_living_node_with_progress_is_left_alone(db: Database, moved: str) -> None:
    id, token = claimed(db, "slow", stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '5 hours'")
    progress = f"token = '{token}', progress_at = now() - interval '9 minutes'"
    if moved == "before the first look":
        put_node(db, "slow", progress)
    first = cleanup(db)
    looked(db, "slow", "10 seconds")
    put_node(db, "slow", progress)

    second = cleanup(db)
    # The suspicion of the first look is forgotten: another two are needed.
    put_node(db, "slow", f"token = '{token}', progress_at = now() - interval '11 minutes'")
    third = cleanup(db)

    assert len(first.pending) == (0 if moved == "before the first look" else 1)
    assert (second.ended, second.pending, third.ended) == ([], [], [])
    assert [each["id"] for each in third.pending] == [id]


def test_progress_on_another_claim_does_not_count(db: Database) -> None:
    id, _ = claimed(db, "stuck", stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")
    put_node(db, "stuck", f"token = '{uuid.uuid4()}', progress_at = now()")

    assert [each["id"] for each in cleanup(db).pending] == [id]


def test_a_jump_of_the_clock_robs_nobody(db: Database) -> None:
    ids = [claimed(db, f"node-{n}")[0] for n in range(4)]
    # The database's clock has jumped an hour ahead: every lease looks run out, once.
    for n in range(4):
        lease_ended(db, f"node-{n}", "1 hour")

    done = cleanup(db, look_seconds=None)

    assert (done.ended, len(done.pending)) == ([], 4)
    assert {row(db, id)["processing_status"] for id in ids} == {"processing"}
