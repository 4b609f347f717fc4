"""What a claim and the end of an attempt wait for, what they set right, and what they leave as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import DatabaseError
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from tests.queue.test_fences import GIVEN, ended
from tests.support.tables import application, boot, claimed, files, put, put_node, row, run


@contextlib.contextmanager
def impatient(db: Database) -> Iterator[Connection]:
    """A connection on which a wait for a lock is an error."""
    with db.connection() as connection:
        connection.execute("SET lock_timeout = '300ms'")
        try:
            yield connection
        finally:
            connection.execute("RESET lock_timeout")


@contextlib.contextmanager
def meanwhile(db: Database, statement: str) -> Iterator[None]:
    """A transaction of another session that is not over."""
    with application(db.settings) as other, other.transaction(force_rollback=True):
        run(other, statement)
        yield


def claim_of(node: Boot) -> dict[str, Any]:
    return {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch, "token": claims.new_token(),
            "after": "-infinity"}  # fmt: skip


# -- who waits for whom ------------------------------------------------------------------------


def test_a_claim_passes_over_a_row_that_another_session_has_locked(db: Database) -> None:
    first, second = files(db, "first", "second")
    node = boot(db)

    with (
        meanwhile(db, f"SELECT 1 FROM {db.settings.files} WHERE id = {first} FOR UPDATE"),
        impatient(db) as connection,
    ):
        (answer,) = db.run_on(connection, "claim", **claim_of(node))

    assert (answer["outcome"], answer["id"]) == ("claimed", second)


def test_the_next_claim_passes_over_a_row_that_another_session_has_locked(db: Database) -> None:
    held, first, second = files(db, "held", "first", "second")
    node = boot(db)
    token = claims.claim_one(db, node, held).token

    with (
        meanwhile(db, f"SELECT 1 FROM {db.settings.files} WHERE id = {first} FOR UPDATE"),
        impatient(db) as connection,
    ):
        (answer,) = db.run_on(
            connection, "complete_and_claim", id=held, done_token=token, result="null", **claim_of(node)
        )

    assert str(answer["id"]) == second


def test_a_completion_does_not_wait_for_a_row_that_another_session_has_locked(db: Database) -> None:
    id, token = claimed(db)

    with (
        meanwhile(db, f"SELECT 1 FROM {db.settings.files} WHERE id = {id} FOR UPDATE"),
        impatient(db) as connection,
    ):
        (answer,) = db.run_on(connection, "complete", id=id, token=token, result="null")

    assert answer["answer"] == "again"


@pytest.mark.parametrize("name", ["claim", "complete_and_claim", "claim_one"])
def test_a_claim_waits_for_whoever_raises_its_nodes_epoch_and_for_no_heartbeat(db: Database, name: str) -> None:
    held, _next_one = files(db, "held", "next")
    node = boot(db)
    given: dict[str, Any] = claim_of(node)
    if name == "complete_and_claim":
        given |= {"id": held, "done_token": claims.claim_one(db, node, held).token, "result": "null"}
    elif name == "claim_one":
        del given["after"]
        given["id"] = held

    raising = f"UPDATE {db.names['nodes']} SET epoch = epoch + 1"
    with (
        meanwhile(db, raising),
        pytest.raises(DatabaseError) as refused,
        impatient(db) as connection,
    ):
        db.run_on(connection, name, **given)
    assert refused.value.sqlstate == "55P03"

    with meanwhile(db, f"UPDATE {db.names['nodes']} SET beat_at = now() + interval '2 seconds'"):
        with application(db.settings) as own:
            run(own, f"SELECT 1 FROM {db.names['nodes']} FOR KEY SHARE NOWAIT")
        with impatient(db) as connection:
            (answer,) = db.run_on(connection, name, **given)
    assert answer.get("outcome", "claimed") == "claimed"


def test_the_next_claim_that_waits_for_its_own_file_gives_up_before_a_deadlock_is_looked_for(db: Database) -> None:
    held, _next_one = files(db, "held", "next")
    node = boot(db)
    token = claims.claim_one(db, node, held).token

    with (
        meanwhile(db, f"SELECT 1 FROM {db.settings.files} WHERE id = {held} FOR UPDATE"),
        pytest.raises(DatabaseError) as refused,
        Database(db.settings, pooled=False, statement_seconds=3.0) as own,
    ):
        own.run("complete_and_claim", id=held, done_token=token, result="null", **claim_of(node))

    assert refused.value.sqlstate == "55P03"


# -- when nothing is due -----------------------------------------------------------------------


def test_an_empty_queue_tells_when_the_next_file_is_due_that_somebody_may_claim(db: Database) -> None:
    deleted, later, never = files(db, "deleted", "later", "never")
    put(db, deleted, "deleted = true, processing_queued_at = now() + interval '10 seconds'")
    put(db, later, "processing_queued_at = now() + interval '100 seconds'")
    put(db, never, "processing_queued_at = 'infinity'")
    node = boot(db)

    seconds = claims.claim(db, node).next_seconds
    put(db, later, "processing_status = 'failed'")

    assert seconds is not None
    assert 90 < seconds <= 100
    assert claims.claim(db, node).next_seconds is None


@pytest.mark.parametrize("due", [True, False])
def test_a_node_in_quarantine_claims_when_its_probe_is_due(db: Database, due: bool) -> None:
    files(db, "a")
    node = boot(db)
    put_node(db, "node-a", f"state = 'quarantined', probe_at = now() {'-' if due else '+'} interval '5 seconds'")

    answer = claims.claim(db, node)

    assert (answer.outcome, answer.probe) == (("claimed", True) if due else ("paused", False))


@pytest.mark.parametrize("closed", [True, False])
def test_a_claim_stands_still_while_the_breaker_is_open(db: Database, closed: bool) -> None:
    files(db, "a")
    node = boot(db)
    with application(db.settings) as own:
        run(
            own,
            f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason, next_probe_at, probe_seconds, closed_at) "
            "VALUES (' breaker', 'breaker', 'a', 'it broke', now() + interval '60 seconds', 1, "
            f"{'now()' if closed else 'NULL'})",
        )

    answer = claims.claim(db, node)

    assert (answer.outcome, answer.broken) == (("claimed", None) if closed else ("paused", "it broke"))


# -- what has ended ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", GIVEN)
def test_a_file_that_was_completed_stays_so_whatever_its_node_says_later(db: Database, name: str) -> None:
    id, token = claimed(db)
    claims.complete(db, id=id, token=token)
    before = row(db, id)

    assert ended(db, name, id, token) == ("already" if name == "complete" else "lost")
    assert row(db, id) == before


def test_a_claim_that_was_lost_is_told_so_and_one_that_is_locked_to_ask_again(db: Database) -> None:
    id, token = claimed(db)
    put(db, id, "processing_status = 'queued'")

    assert ended(db, "complete", id, token) == "lost"


def test_a_result_and_an_end_are_written_to_a_completed_file_alone(db: Database) -> None:
    id, token = claimed(db)
    claims.complete(db, id=id, token=token)
    put(db, id, "processing_status = 'failed', processing_completed_at = '2020-01-01'")
    before = row(db, id)

    db.run("store_result", id=id, token=token, result='{"rows": 1}')
    db.run("ended_now", id=id, token=token)

    assert row(db, id) == before


@pytest.mark.parametrize("name", ["complete", "complete_and_claim"])
def test_a_completion_takes_the_failures_and_the_error_of_earlier_attempts_away(db: Database, name: str) -> None:
    id, token = claimed(db)
    files(db, "next")
    put(db, id, "processing_failures = 2, processing_errors = 'it broke'")
    if name == "complete":
        claims.complete(db, id=id, token=token)
    else:
        node = Boot("node-a", str(node_row(db)["boot"]), node_row(db)["epoch"])
        claims.complete_and_claim(
            db, node, id=id, done_token=token, result=None, after="-infinity", token=claims.new_token()
        )

    found = row(db, id)
    assert (found["processing_status"], found["processing_failures"], found["processing_errors"]) == (
        "completed", 0, None,
    )  # fmt: skip


def node_row(db: Database) -> dict[str, Any]:
    with application(db.settings) as own:
        return run(own, f"SELECT * FROM {db.names['nodes']}")[0]


def test_a_file_that_is_given_back_keeps_its_place_in_the_queue(db: Database) -> None:
    id, token = claimed(db)
    put(db, id, "processing_queued_at = '2020-01-01'")
    claims.release(db, id=id, token=token, reason="drained", actor="node-a")

    assert row(db, id)["processing_queued_at"].year == 2020


@pytest.mark.parametrize(
    ("outcome", "failures", "state"),
    [("raised", 0, "queued"), ("crashed", 1, "queued"), ("raised", 2, "failed"), ("rejected", 0, "failed"),
     ("timeout", 0, "failed")],
)  # fmt: skip
def test_an_attempt_that_ended_badly_is_tried_again_while_the_budget_lasts_unless_trying_is_useless(
    db: Database, outcome: str, failures: int, state: str
) -> None:
    id, token = claimed(db)
    put(db, id, f"processing_failures = {failures}")

    assert ended(db, "fail", id, token, outcome=outcome, max_failures=3) == state
    found = row(db, id)
    assert (found["processing_status"], found["processing_failures"]) == (state, failures + 1)


@pytest.mark.parametrize("name", ["defer", "interrupt"])
def test_of_what_costs_nothing_only_its_own_kind_counts_against_its_bound(db: Database, name: str) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    for _ in range(2):
        token = claims.claim_one(db, node, id).token
        claims.release(db, id=id, token=token, reason="drained", actor="node-a")
    token = claims.claim_one(db, node, id).token

    assert ended(db, name, id, token, most=1, max_failures=1) == "queued"


@pytest.mark.parametrize(("wait", "failures", "seconds"), [("", 1, 20), ("", 30, 3600), ("7", 3, 7), ("0", 0, 0)])
def test_a_retry_waits_as_long_as_it_is_told_else_twice_as_long_each_time_and_an_hour_at_most(
    db: Database, wait: str, failures: int, seconds: float
) -> None:
    id, token = claimed(db)
    put(db, id, f"processing_failures = {failures}")

    ended(db, "fail", id, token, max_failures=99, retry_seconds=10, wait_seconds=wait)

    with application(db.settings) as own:
        query = f"SELECT extract(epoch FROM processing_queued_at - now())::float8 AS s FROM {db.settings.files}"
        (left,) = run(own, query)
    assert abs(left["s"] - seconds) < 5


def test_a_heartbeat_frees_a_node_whose_pause_is_over_at_the_second_beat(db: Database) -> None:
    node = boot(db)
    put_node(db, "node-a", "paused = true")
    told = []
    for _ in range(2):
        nodes.heartbeat(db, node)
        told.append(node_row(db)["paused"])

    assert told == [None, False]
