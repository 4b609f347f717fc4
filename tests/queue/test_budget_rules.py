"""Retry budgets, back-offs, and who counts as away: each rule at its edge."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError, SettingError
from opskit.queue import claims, interruptions, reaper, requeuing
from opskit.support.retry import Backoff
from opskit.support.retry_rules import rule_for, rules
from tests.support.tables import application, boot, claim, claimed, fail, files, put, put_node, row, run

# -- waiting -----------------------------------------------------------------------------------------


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(1.0, 5.0)

    assert [backoff.pause() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert all(2.5 <= backoff.pause(jitter=True) <= 5.0 for _ in range(200))


def test_patience_is_over_when_it_is_used_up_and_known_before_the_pause_that_does_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("opskit.support.retry.time.monotonic", lambda: now)
    backoff = Backoff(4.0, 4.0, patience_seconds=10.0)
    seen = []
    for moment in (100.0, 107.0, 111.0):
        now = moment
        seen.append((backoff.is_last, backoff.is_over))

    assert seen == [(False, False), (True, False), (True, True)]


def test_a_rule_holds_for_an_exception_and_what_is_derived_from_it_by_either_name() -> None:
    read = rules("OSError=20:2m, builtins.KeyError=3, ValueError=1:1.5h")

    assert [(rule.name, rule.times, rule.wait_seconds) for rule in read] == [
        ("OSError", 20, 120.0), ("builtins.KeyError", 3, None), ("ValueError", 1, 5400.0),
    ]  # fmt: skip
    assert rule_for(ConnectionResetError(), read) is read[0]
    assert rule_for(KeyError(), read) is read[1]
    assert rule_for(TypeError(), read) is None


@pytest.mark.parametrize("text", ["OSError=0", "OSError=1:721h", "OSError", "OSError=1:5d"])
def test_a_rule_without_a_try_or_with_a_wait_of_a_month_and_more_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="OSError"):
        rules(text)


# -- who is at fault -----------------------------------------------------------------------------------


def refused(state: str | None) -> DatabaseError:
    """What the database refuses, with its SQLSTATE."""
    error = DatabaseError("no")
    error.sqlstate = state
    return error


@pytest.mark.parametrize(
    ("state", "passes"),
    [("40P01", True), ("53300", True), ("57P01", True), ("58030", True), ("25006", True), ("55P03", True),
     ("22012", False), ("42501", False), ("23502", False), (None, False)],
)  # fmt: skip
def test_an_error_of_the_database_passes_by_itself_by_its_sqlstate(state: str | None, passes: bool) -> None:
    assert interruptions.passing(refused(state)) is passes


def test_no_answer_passes_by_itself() -> None:
    assert interruptions.passing(DatabaseUnavailableError("away"))


def test_an_outage_is_one_of_our_own_database_alone(db: Database) -> None:
    assert interruptions.by_outage(db, DatabaseUnavailableError("away"))
    assert not interruptions.by_outage(db, ConnectionError("elsewhere"))
    # An error that looks like an outage, while our own database answers, is another database's.
    assert not interruptions.by_outage(db, psycopg.OperationalError("server closed the connection unexpectedly"))


def test_an_interruption_of_a_file_whose_cancellation_was_asked_for_cancels_it(db: Database) -> None:
    id, token = claimed(db)
    put_node(db, "node-a", f"cancel_token = '{token}'")

    assert interruptions.interrupt(db, id=id, token=token, reason="away", actor="test") == "failed"
    assert row(db, id)["processing_failure"]["cancelled"] is True


# -- requeue -------------------------------------------------------------------------------------------


def failed(db: Database, count: int, server_id: str = "node-a", **changes: Any) -> list[str]:
    """Files that failed for good on a node."""
    node, ids = boot(db, server_id), []
    for id in files(db, *[f"file-{n}" for n in range(count)]):
        answer = claims.claim_one(db, node, id)
        fail(db, id, answer.token, outcome="rejected", **changes)
        ids.append(id)
    return ids


def test_requeue_takes_no_more_than_it_is_told_in_however_many_batches(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = failed(db, 7)
    monkeypatch.setattr(requeuing, "_REQUEUED", 2)

    assert len(queue.requeue(db, ids, limit=3, actor="me")) == 3
    assert len(queue.requeue(db, failed=True, limit=1, actor="me")) == 1
    assert len(queue.requeue(db, failed=True, actor="me")) == 3
    with pytest.raises(SettingError, match="not both"):
        queue.requeue(db, ids, failed=True)


def test_what_would_be_requeued_is_told_and_nothing_is_changed(db: Database) -> None:
    (id,) = failed(db, 1)

    assert [found["id"] for found in requeuing.requeueable(db, failed=True)] == [id]
    assert row(db, id)["processing_status"] == "failed"


def test_a_requeued_file_has_its_whole_budget_and_stands_at_the_end_of_the_queue(db: Database) -> None:
    (id,) = failed(db, 1)
    put(db, id, "processing_failures = 2, processing_queued_at = now() - interval '1 day'")
    (other,) = files(db, "other")

    queue.requeue(db, [id], actor="me")

    node = boot(db, "node-b")
    assert row(db, id)["processing_failures"] == 0
    assert claim(db, node).row["id"] == other  # type: ignore[index]


def test_requeue_of_files_takes_those_that_are_named_and_have_ended(db: Database) -> None:
    named, other = failed(db, 2)
    at_work, _ = claimed(db, "node-b")

    assert [one["id"] for one in queue.requeue(db, [named, at_work], actor="me")] == [named]
    assert row(db, other)["processing_status"] == "failed"
    assert row(db, at_work)["processing_status"] == "processing"


@pytest.mark.parametrize("how", ["ids", "failed", "error", "told"])
def test_requeue_passes_over_a_row_that_somebody_has_locked(db: Database, how: str) -> None:
    locked, free = failed(db, 2, error="it broke")
    # Without an identity, as an older node leaves it, the text is what names the error.
    identity = "jsonb_build_object('attempt', processing_attempt, 'error', 'it broke', 'place', '')"
    for id in (locked, free):
        put(db, id, f"processing_failure = {identity if how == 'error' else 'NULL'}")
    ids = [locked, free] if how == "ids" else []
    error = "it broke" if how in ("error", "told") else ""
    with application(db.settings) as other, other.transaction():
        run(other, f"SELECT 1 FROM {db.settings.files} WHERE id = {locked} FOR UPDATE")

        with db.connection() as connection:
            connection.execute("SET lock_timeout = '2s'")
            found = db.run_on(
                connection, "requeue", which="ids" if ids else "failed", ids=ids, error=error, server_id="",
                cancelled=False, row_limit=10, before="", actor="me", reason="",
            )  # fmt: skip

    assert [one["id"] for one in found] == [free]


def test_requeue_of_all_failed_files_goes_by_server_and_time_and_leaves_deleted_ones(db: Database) -> None:
    (a, deleted), (b,) = failed(db, 2, "node-a"), failed(db, 1, "node-b")
    put(db, deleted, "deleted = true")
    put(db, b, "processing_completed_at = now() + interval '1 hour'")

    assert [one["id"] for one in requeuing.requeueable(db, failed=True, server_id="node-a")] == [a]
    assert [one["id"] for one in queue.requeue(db, failed=True, actor="me")] == [a]
    assert [one["id"] for one in queue.requeue(db, [b, deleted], actor="me")] == [b]


@pytest.mark.parametrize("identified", [True, False])
def test_requeue_of_an_error_goes_by_server_and_time_and_leaves_deleted_ones(db: Database, identified: bool) -> None:
    (a, deleted), (b, later, other) = failed(db, 2, "node-a"), failed(db, 3, "node-b")
    known = "jsonb_build_object('attempt', processing_attempt, 'error', 'it broke', 'place', '')"
    for id in (a, deleted, b, later):
        put(db, id, f"processing_errors = 'it broke', processing_failure = {known if identified else 'NULL'}")
    put(db, other, "processing_errors = 'else', processing_failure = NULL")
    put(db, deleted, "deleted = true")
    put(db, later, "processing_completed_at = now() + interval '1 hour'")

    assert [one["id"] for one in requeuing.requeueable(db, failed=True, error="it broke", server_id="node-a")] == [a]
    assert sorted(one["id"] for one in queue.requeue(db, failed=True, error="it broke", actor="me")) == sorted([a, b])
    assert row(db, other)["processing_status"] == "failed"


# -- the reaper's door -----------------------------------------------------------------------------------


def test_an_operators_look_is_two_seconds_old_and_a_nodes_look_a_beat(db: Database) -> None:
    id, token = claimed(db, lease_seconds=600.0)
    put_node(db, "node-a", "lease_until = now() - interval '1 second'")
    first = reaper.cleanup(db, look_seconds=None, claims=[f"{id}/{token}", "0/"], actor="me")
    put_node(db, "node-a", "looked_at = now() - interval '100 seconds'")
    beat = reaper.cleanup(db, look_seconds=None, actor="me")
    operator = reaper.cleanup(db, actor="me")

    assert ([one["id"] for one in first.pending], first.ended, first.skipped) == ([id], [], ["0/"])
    assert (len(beat.pending), beat.ended) == (1, [])
    assert ([one["id"] for one in operator.ended], operator.pending) == ([id], [])


def test_a_preview_counts_as_a_look_unless_it_only_reads(db: Database) -> None:
    claimed(db)
    put_node(db, "node-a", "lease_until = now() - interval '1 second'")

    def looked() -> bool:
        with application(db.settings) as own:
            return bool(run(own, f"SELECT looked_at FROM {db.names['nodes']}")[0]["looked_at"])

    reaper.preview(db, look=False)
    assert not looked()
    with Database(dataclasses.replace(db.settings, read_only=True)) as reading:
        assert not reaper.take_look(reading)
    assert not looked()
    reaper.preview(db)
    assert looked()


def test_a_look_that_postgresql_refuses_for_another_reason_is_told(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for state, counts in (("42501", False), ("25006", False), ("40P01", None)):

        def refuse(name: str, sqlstate: str = state) -> None:
            raise refused(sqlstate)

        monkeypatch.setattr(db, "run", refuse)
        if counts is None:
            with pytest.raises(DatabaseError):
                reaper.take_look(db)
        else:
            assert reaper.take_look(db) is counts
