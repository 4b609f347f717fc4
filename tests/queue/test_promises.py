"""What the database itself promises, whatever is written to it, and what the verbs over it answer."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError, DatabaseError, DatabaseUnavailableError, NotClaimableError, OpskitError
from opskit.queue import adopting, claims, nodes, requeuing
from opskit.queue.identity import Boot
from tests.support.nodes import until
from tests.support.tables import (
    application,
    attempts,
    boot,
    change,
    claim,
    claimed,
    fail,
    files,
    put,
    put_node,
    row,
    rows,
    run,
)

CLAIM = (
    "processing_status = 'processing', processing_server_id = '{server}', processing_started_at = now(), "
    "processing_token = gen_random_uuid(), processing_epoch = {epoch}"
)


def plain(db: Database, id: str, assignments: str) -> None:
    """A plain UPDATE over a connection of the application's, with the driver's own errors."""
    with application(db.settings) as connection:
        change(connection, db.settings.files, id, assignments)


def events(db: Database, kind: str) -> list[dict[str, Any]]:
    """The events of one kind, oldest first."""
    with db.connection() as connection:
        return [event for event in rows(connection, db.names["events"], order="id") if event["kind"] == kind]


def waiting(db: Database) -> int:
    """How many sessions of this database wait for a lock."""
    query = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with db.connection() as connection:
        return int(run(connection, query)[0]["n"])


# -- the index, the checks, the guard --------------------------------------------------------


def test_a_server_never_has_two_files_under_one_epoch(db: Database) -> None:
    first, second, third = files(db, "a", "b", "c")
    plain(db, first, CLAIM.format(server="node-a", epoch=1))

    with pytest.raises(pg.UniqueViolation, match=db.names["held_index"]):
        plain(db, second, CLAIM.format(server="node-a", epoch=1))
    plain(db, third, CLAIM.format(server="node-b", epoch=1))

    assert [row(db, id)["processing_status"] for id in (first, second, third)] == ["processing", "queued", "processing"]


def test_the_claim_of_a_node_that_holds_a_file_is_refused_by_the_index(db: Database) -> None:
    files(db, "a", "b")
    node = boot(db)
    held = claim(db, node)

    with pytest.raises(DatabaseError) as refused:
        claims.claim(db, node)

    assert refused.value.sqlstate == "23505"
    assert [found["id"] for found in claims.held(db, "node-a")] == [held.row and held.row["id"]]


def test_older_processors_may_hold_several_files_because_they_know_no_token(db: Database) -> None:
    ids = files(db, "a", "b", "c")

    for id in ids:
        plain(db, id, "processing_status = 'processing', processing_server_id = 'old', processing_started_at = now()")

    assert {row(db, id)["processing_server_id"] for id in ids} == {"old"}


def test_a_zombies_late_plain_update_to_completed_is_refused_under_a_foreign_token(db: Database) -> None:
    id, token = claimed(db)

    with pytest.raises(pg.CheckViolation, match=db.names["fence_check"]):
        plain(db, id, "processing_status = 'completed', processing_completed_at = now()")
    with pytest.raises(pg.CheckViolation, match=db.names["fence_check"]):
        plain(db, id, "processing_status = 'completed', processing_done_token = gen_random_uuid()")

    assert claims.complete(db, id=id, token=token) == "done"


@pytest.mark.parametrize("column", ["processing_server_id", "processing_epoch"])
def test_a_claim_under_a_token_cannot_lose_its_owner(db: Database, column: str) -> None:
    id, _ = claimed(db)

    with pytest.raises(pg.CheckViolation, match=db.names["fence_check"]):
        plain(db, id, f"{column} = NULL, processing_token = gen_random_uuid()")

    assert row(db, id)[column] is not None


@pytest.mark.parametrize("status", ["pending", "PROCESSING", "done", "", " queued", "error"])
def test_a_stray_status_is_refused(db: Database, status: str) -> None:
    (id,) = files(db, "a")

    with pytest.raises(pg.CheckViolation, match=db.names["state_check"]):
        plain(db, id, f"processing_status = '{status}'")
    with pytest.raises(pg.CheckViolation, match=db.names["state_check"]), application(db.settings) as connection:
        run(connection, f"INSERT INTO {db.settings.files} (processing_status) VALUES ('{status}')")

    assert row(db, id)["processing_status"] == "queued"


@pytest.mark.parametrize("assignments", [
    "processing_status = 'queued'",
    "processing_status = 'failed', processing_errors = 'the application says so'",
    "processing_status = NULL",
])  # fmt: skip
def test_a_plain_update_that_ends_a_claim_takes_the_token_away(db: Database, assignments: str) -> None:
    id, token = claimed(db)

    plain(db, id, assignments)

    found = row(db, id)
    assert (found["processing_token"], found["processing_epoch"]) == (None, None)
    assert fail(db, id, token) == "lost"
    with pytest.raises(ClaimLostError, match=f"file {id}"):
        claims.complete(db, id=id, token=token)
    assert row(db, id) == found


def test_a_row_that_becomes_queued_without_its_time_gets_it(db: Database) -> None:
    (id,) = files(db, "a")
    with application(db.settings) as connection:
        run(
            connection,
            f"INSERT INTO {db.settings.files} (processing_status, processing_queued_at) VALUES ('queued', NULL)",
        )
        change(connection, db.settings.files, id, "processing_status = 'failed', processing_queued_at = NULL")
        change(connection, db.settings.files, id, "processing_status = 'queued'")

        ages = rows(
            connection, db.settings.files, "extract(epoch FROM clock_timestamp() - processing_queued_at) AS age"
        )

    assert len(ages) == 2
    assert all(0 <= found["age"] < 60 for found in ages)


def test_a_claim_without_its_start_gets_one_also_when_it_is_inserted(db: Database) -> None:
    (id,) = files(db, "a")

    plain(db, id, "processing_status = 'processing', processing_server_id = 'old'")
    with application(db.settings) as connection:
        run(connection, f"INSERT INTO {db.settings.files} (processing_status) VALUES ('processing')")

    with db.connection() as connection:
        ages = rows(
            connection, db.settings.files, "extract(epoch FROM clock_timestamp() - processing_started_at) AS age"
        )
    assert [0 <= found["age"] < 60 for found in ages] == [True, True]


def test_a_completed_row_set_back_to_processing_loses_the_old_token(db: Database) -> None:
    id, token = claimed(db)
    claims.complete(db, id=id, token=token)

    plain(db, id, "processing_status = 'processing', processing_server_id = 'old', processing_started_at = now()")

    found = row(db, id)
    assert (found["processing_token"], found["processing_epoch"]) == (None, None)
    assert fail(db, id, token) == "lost"
    assert claims.release(db, id=id, token=token, reason="", actor="test") == "lost"
    plain(db, id, "processing_status = 'completed', processing_completed_at = now()")
    assert row(db, id)["processing_status"] == "completed"


def test_a_claim_taken_over_by_a_plain_update_is_lost_to_its_first_holder(db: Database) -> None:
    id, token = claimed(db)

    plain(db, id, "processing_server_id = 'old'")

    assert row(db, id)["processing_token"] is None
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)
    assert row(db, id)["processing_status"] == "processing"
    assert row(db, id)["processing_server_id"] == "old"


def test_a_file_that_the_application_requeued_and_another_node_claimed_is_lost_to_the_zombie(db: Database) -> None:
    id, zombie = claimed(db)
    plain(db, id, "processing_status = 'queued', processing_queued_at = NULL")
    heir = claim(db, boot(db, "node-b"))

    for action in (lambda: claims.complete(db, id=id, token=zombie), lambda: _inside(db, id, zombie)):
        with pytest.raises(ClaimLostError):
            action()

    assert fail(db, id, zombie) == "lost"
    assert claims.complete(db, id=id, token=heir.token) == "done"
    assert row(db, id)["processing_attempt"] == 2


def _inside(db: Database, id: str, token: str) -> None:
    with claims.completing(db, id=id, token=token) as tx:
        tx.execute("CREATE TABLE written_by_a_zombie ()")


# -- the claim -------------------------------------------------------------------------------

FORCED = {
    "as it is": "",
    "sequential scans": "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    "nested loops": "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off",
    "merge joins": "SET enable_hashjoin = off; SET enable_nestloop = off",
    "generic plans": "SET plan_cache_mode = force_generic_plan",
    "index scans": "SET enable_seqscan = off; SET enable_bitmapscan = off",
}


@pytest.mark.parametrize("plans", FORCED.values(), ids=FORCED)
@pytest.mark.parametrize("analyzed_empty", [True, False], ids=["analyzed empty", "never analyzed"])
def test_a_claim_takes_exactly_one_row_under_any_plan(db: Database, plans: str, analyzed_empty: bool) -> None:
    if analyzed_empty:
        with application(db.settings) as connection:
            run(connection, "ANALYZE")
    files(db, *(f"file-{n}" for n in range(30)))
    node = boot(db)
    values = {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch, "after": "-infinity"}
    with db.connection() as connection:
        run(connection, plans or "SELECT 1")

        first = uuid.uuid4()
        (answer,) = db.run_on(connection, "claim", token=first, **values)
        (second,) = db.run_on(
            connection,
            "complete_and_claim",
            id=answer["id"],
            done_token=first,
            result="null",
            token=uuid.uuid4(),
            **values,
        )
        run(connection, "RESET ALL")

    assert (answer["outcome"], answer["original_filename"]) == ("claimed", "file-0")
    assert second["original_filename"] == "file-1"
    found = {each["processing_status"]: each["file_count"] for each in db.run("distribution")}
    assert found == {"completed": 1, "processing": 1, "queued": 28}


def test_a_claim_answers_what_it_found(db: Database) -> None:
    node = boot(db)
    empty = claims.claim(db, node)
    (id,) = files(db, "a")
    queue.pause(db, "node-a", actor="test")
    paused = claims.claim(db, node)
    queue.resume(db, "node-a", actor="test")
    stranger = claims.claim(db, Boot("node-b", str(uuid.uuid4()), 1))
    late = claims.claim(db, Boot("node-a", node.boot, node.epoch - 1))
    taken = claims.claim(db, node)

    assert (empty.outcome, empty.row, empty.next_seconds) == ("empty", None, None)
    assert (paused.outcome, stranger.outcome, late.outcome) == ("paused", "deposed", "deposed")
    assert taken.outcome == "claimed"
    assert taken.row is not None
    assert (taken.row["id"], taken.row["attempt"], taken.row["failures"]) == (id, 1, 0)


def test_a_node_whose_lease_has_run_out_claims_nothing_until_it_beats_again(db: Database) -> None:
    first, second = files(db, "a", "b")
    node = boot(db)
    held = claim(db, node)
    put_node(db, "node-a", "lease_until = now() - interval '1 second'")

    answer = claims.complete_and_claim(
        db, node, id=first, done_token=held.token, result=None, after="-infinity", token=claims.new_token()
    )
    done = claims.complete(db, id=first, token=held.token)
    alone = claims.claim(db, node)
    nodes.heartbeat(db, node)
    alive = claims.claim(db, node)

    assert (answer, done, alone.outcome) == (None, "done", "paused")
    assert alive.row is not None
    assert alive.row["id"] == second


def test_an_empty_answer_says_when_the_next_file_is_due(db: Database) -> None:
    (id,) = files(db, "a")
    put(db, id, "processing_queued_at = now() + interval '90 seconds'")

    answer = claims.claim(db, boot(db))

    assert answer.outcome == "empty"
    assert answer.next_seconds is not None
    assert 80 < answer.next_seconds <= 90


def test_the_queue_is_served_in_order_and_a_cursor_skips_what_lies_before_it(db: Database) -> None:
    ids = files(db, "a", "b", "c")
    put(db, ids[2], "processing_queued_at = now() - interval '1 hour'")
    node = boot(db)

    first = claim(db, node)
    fail(db, ids[2], first.token)
    put(db, ids[2], "processing_queued_at = now() - interval '2 hours'")
    after_cursor = claims.claim(db, node, after=first.cursor)

    assert first.row is not None
    assert after_cursor.row is not None
    assert (first.row["id"], after_cursor.row["id"]) == (ids[2], ids[0])


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        ("deleted = true", "file {id} is deleted"),
        ("processing_status = NULL", "waits without a status"),
        (
            "processing_status = 'failed', processing_server_id = 'x', processing_completed_at = now()",
            "was failed by x",
        ),
        ("processing_status = 'processing', processing_server_id = 'x'", "is being processed by x since 2"),
    ],
)
def test_a_file_that_cannot_be_claimed_by_hand_says_why(db: Database, assignments: str, sentence: str) -> None:
    (id,) = files(db, "a")
    put(db, id, assignments)
    node = boot(db)

    with pytest.raises(NotClaimableError, match=sentence.format(id=id)):
        claims.claim_one(db, node, id)
    with pytest.raises(NotClaimableError, match="there is no file '999'"):
        claims.claim_one(db, node, "999")
    with pytest.raises(NotClaimableError, match="ids look different"):
        claims.claim_one(db, node, "no-number")

    assert claims.held(db, "node-a") == []


def test_forty_claims_at_once_take_forty_different_files(db: Database) -> None:
    files(db, *(f"file-{n}" for n in range(40)))
    many = [boot(db, f"node-{n}") for n in range(40)]

    with Database(db.settings) as shared, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda node: claims.claim(shared, node), many))

    taken = [answer.row["id"] for answer in answers if answer.row]
    assert len(set(taken)) == len(taken) == 40


# -- completing ------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_file_ends_when_its_transaction_does(db: Database, seconds: float) -> None:
    id, token = claimed(db)
    with claims.completing(db, id=id, token=token) as tx:
        (begun,) = run(tx, f"SELECT clock_timestamp() AS at, pg_sleep({seconds})")
        (over,) = run(tx, "SELECT clock_timestamp() AS at")

    ended = row(db, id)
    assert ended["processing_status"] == "completed"
    # A short one has ended when it began: a statement more would cost it as much as all the rest.
    assert ended["processing_completed_at"] > over["at"] if seconds else ended["processing_completed_at"] < begun["at"]


def test_complete_answers_done_then_already_and_lost_to_others(db: Database) -> None:
    id, token = claimed(db)

    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=claims.new_token())
    first = claims.complete(db, id=id, token=token, result={"rows": 3})
    again = claims.complete(db, id=id, token=token, result={"rows": 4})
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=claims.new_token())
    with pytest.raises(ClaimLostError):
        claims.complete(db, id="999", token=token)

    assert (first, again) == ("done", "already")
    assert row(db, id)["processing_result"] == {"rows": 3}


def test_complete_answers_again_while_another_transaction_has_the_row(db: Database) -> None:
    id, token = claimed(db)

    with application(db.settings) as connection, connection.transaction():
        run(connection, f"SELECT FROM {db.settings.files} WHERE id = {id} FOR UPDATE")
        while_locked = db.one("complete", id=id, token=token, result="null")["answer"]
    afterwards = db.one("complete", id=id, token=token, result="null")["answer"]

    assert (while_locked, afterwards) == ("again", "done")


def test_complete_waits_for_the_row_and_then_does_it(db: Database) -> None:
    id, token = claimed(db)
    asked = threading.Event()

    with ThreadPoolExecutor(1) as pool:
        with application(db.settings) as connection, connection.transaction():
            run(connection, f"SELECT FROM {db.settings.files} WHERE id = {id} FOR UPDATE")
            patient = pool.submit(lambda: (asked.set(), claims.complete(db, id=id, token=token))[1])
            asked.wait(10)
            assert not patient.done()

        assert patient.result(10) == "done"


def test_a_file_that_somebody_has_locked_for_too_long_is_not_called_lost(db: Database) -> None:
    id, token = claimed(db)

    with application(db.settings) as connection, connection.transaction():
        run(connection, f"SELECT FROM {db.settings.files} WHERE id = {id} FOR UPDATE")
        with (
            pytest.raises(DatabaseUnavailableError, match=f"file {id} is locked by another transaction"),
            claims.completing(db, id=id, token=token, patience_seconds=0),
        ):
            pytest.fail("nobody may write under a lock that he has not got")

    assert claims.complete(db, id=id, token=token) == "done"


def test_an_application_that_updates_the_file_in_hand_and_the_next_one_is_in_no_deadlock_with_the_node(
    db: Database,
) -> None:
    files(db, "a", "b")
    node = boot(db, lease_seconds=600.0)
    held = claim(db, node)
    assert held.row is not None
    id = held.row["id"]

    def go_on() -> claims.Answer | None:
        return claims.complete_and_claim(
            db, node, id=id, done_token=held.token, result=None, after="-infinity", token=claims.new_token()
        )

    with ThreadPoolExecutor(1) as pool, application(db.settings) as connection, connection.transaction():
        run(connection, "SET LOCAL deadlock_timeout = '600ms'")
        run(connection, f"UPDATE {db.settings.files} SET file_size = 1 WHERE id = {id}")
        refused = pool.submit(go_on)
        until(lambda: waiting(db))
        run(connection, f"UPDATE {db.settings.files} SET file_size = 1 WHERE id <> {id}")
        with pytest.raises(DatabaseError, match="lock timeout"):
            refused.result(10)

    assert claims.complete(db, id=id, token=held.token) == "done"
    assert [each["file_count"] for each in db.run("distribution")] == [1, 1]
    assert claims.claim(db, node).outcome == "claimed"


@pytest.mark.parametrize("how", ["foreign token", "lost", "deposed", "node paused", "all paused", "draining", "right"])
def test_complete_and_claim_claims_only_when_it_completed(db: Database, how: str) -> None:
    files(db, "a", "b")
    node = boot(db, lease_seconds=600.0)
    held = claim(db, node)
    assert held.row is not None
    id, token = held.row["id"], held.token
    if how == "foreign token":
        token = claims.new_token()
    elif how == "lost":
        fail(db, id, token, outcome="rejected")
    elif how == "deposed":
        nodes.advance(db, node)
    elif how == "node paused":
        queue.pause(db, "node-a", actor="test")
    elif how == "all paused":
        queue.pause(db, actor="test")
    elif how == "draining":
        queue.drain(db, "node-a", actor="test")

    answer = claims.complete_and_claim(
        db, node, id=id, done_token=token, result={"n": 1}, after="-infinity", token=claims.new_token()
    )

    expected = {
        "foreign token": (None, "processing", 1),
        "lost": (None, "failed", 1),
        "deposed": (None, "processing", 1),
        "node paused": (None, "processing", 1),
        "all paused": (None, "processing", 1),
        "draining": (None, "processing", 1),
        "right": ("claimed", "completed", 0),
    }
    left = sum(each["file_count"] for each in db.run("distribution") if each["processing_status"] == "queued")
    assert (answer and answer.outcome, row(db, id)["processing_status"], left) == expected[how]


def goes_on(db: Database, node: Boot, held: claims.Answer) -> claims.Answer | None:
    """Complete the file in hand and claim the next."""
    assert held.row is not None
    return claims.complete_and_claim(
        db, node, id=held.row["id"], done_token=held.token, result=None, after="-infinity", token=claims.new_token()
    )


def test_a_pause_written_by_an_older_version_holds_from_the_next_claim_or_heartbeat_on(db: Database) -> None:
    files(db, "a", "b", "c")
    node = boot(db, lease_seconds=600.0)
    held = claim(db, node)
    with db.connection() as connection:
        run(connection, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('*', 'older', 'disk full')")

    told = nodes.heartbeat(db, node)

    assert told is not None
    assert told.paused
    assert goes_on(db, node, held) is None
    assert claims.complete(db, id=held.row["id"] if held.row else "", token=held.token) == "done"
    assert claims.claim(db, node).outcome == "paused"


def test_a_node_that_registers_under_a_pause_is_paused_and_each_pause_ends_by_itself(db: Database) -> None:
    files(db, "a", "b", "c")
    queue.pause(db, actor="test")
    node = boot(db, lease_seconds=600.0)
    queue.pause(db, "node-a", actor="test")

    def is_paused() -> bool:
        with db.connection() as connection:
            return bool(run(connection, f"SELECT paused FROM {db.names['nodes']}")[0]["paused"])

    registered = is_paused()
    queue.resume(db, actor="test")
    by_name = is_paused()
    outcome = claims.claim(db, node).outcome
    queue.resume(db, "node-a", actor="test")
    held = claim(db, node)
    nodes.heartbeat(db, node, token=held.token)

    assert (registered, by_name, outcome, is_paused()) == (True, True, "paused", False)
    assert goes_on(db, node, held) is not None


def test_a_pause_holds_although_a_heartbeat_that_has_not_seen_it_waited_for_it(db: Database) -> None:
    files(db, "a", "b")
    node = boot(db, lease_seconds=600.0)
    held = claim(db, node)

    with ThreadPoolExecutor(1) as pool:
        with db.connection() as connection, connection.transaction():
            db.run_on(connection, "pause", scope="*", actor="test", reason="")
            late = pool.submit(lambda: nodes.heartbeat(db, node, token=held.token))
            until(lambda: waiting(db))
        told = late.result(10)

    assert told is not None
    assert not told.paused
    assert goes_on(db, node, held) is None


def test_writes_and_completion_commit_together_or_not_at_all(db: Database) -> None:
    id, token = claimed(db)

    def write(statement: bytes, divisor: int) -> None:
        with claims.completing(db, id=id, token=token, result={"n": 1}) as tx:
            tx.execute(statement)
            assert 1 / divisor

    with pytest.raises(ZeroDivisionError):
        write(b"CREATE TABLE effects ()", 0)
    with pytest.raises(pg.SyntaxError):
        write(b"CREATE TABEL effects ()", 1)
    before = row(db, id)["processing_status"]
    write(b"CREATE TABLE effects ()", 1)

    assert before == "processing"
    assert row(db, id)["processing_status"] == "completed"
    with db.connection() as connection:
        assert rows(connection, "effects", order="ctid") == []


# -- registering, epochs ---------------------------------------------------------------------


@pytest.mark.parametrize("action", ["advance", "register"])
def test_raising_the_epoch_waits_for_a_claim_in_flight_and_deposes_the_next(db: Database, action: str) -> None:
    files(db, "a", "b")
    node = boot(db)
    values = {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch, "after": "-infinity"}

    with ThreadPoolExecutor(1) as pool:
        with db.connection() as connection, connection.transaction():
            (in_flight,) = db.run_on(connection, "claim", token=uuid.uuid4(), **values)
            if action == "register":
                put_node(db, "node-a", "lease_until = now() - interval '1 second'")
            raising = pool.submit(lambda: nodes.advance(db, node) if action == "advance" else boot(db, "node-a").epoch)
            until(lambda: waiting(db) == 1)
            assert not raising.done()
        raised = raising.result(10)

    late = claims.claim(db, node)
    assert in_flight["outcome"] == "claimed"
    assert raised == node.epoch + 1
    assert late.outcome == "deposed"
    assert [held["id"] for held in claims.held(db, "node-a")] == [in_flight["id"]]


def test_a_claim_after_the_epoch_was_raised_waits_and_is_deposed(db: Database) -> None:
    files(db, "a")
    node = boot(db)

    with ThreadPoolExecutor(1) as pool:
        with db.connection() as connection, connection.transaction():
            db.run_on(connection, "advance", server_id=node.server_id, boot=node.boot)
            late = pool.submit(claims.claim, db, node)
            until(lambda: waiting(db) == 1)

        assert late.result(10).outcome == "deposed"


def test_an_epoch_that_is_raised_disowns_nothing(db: Database) -> None:
    id, _ = claimed(db)
    (held,) = claims.held(db, "node-a")
    node = Boot("node-a", str(rows_of_nodes(db)[0]["boot"]), held["epoch"])

    raised = nodes.advance(db, node)
    (verdict,) = queue.preview(db, every=True)

    assert raised == node.epoch + 1
    assert (verdict["verdict"], verdict["id"]) == ("alive", id)
    assert nodes.advance(db, Boot("node-a", str(uuid.uuid4()), 1)) is None


def rows_of_nodes(db: Database) -> list[dict[str, Any]]:
    with db.connection() as connection:
        return rows(connection, db.names["nodes"])


def test_a_server_id_is_refused_while_it_is_alive_and_taken_over_after_its_lease(db: Database) -> None:
    first = boot(db, lease_seconds=30.0)
    refused = nodes.register(db, "node-a", str(uuid.uuid4()))
    holder = nodes.alive(db, "node-a")

    put_node(db, "node-a", "lease_until = now() - interval '1 second'")
    second = boot(db)

    assert refused is None
    assert holder is not None
    assert str(holder["boot"]) == first.boot
    assert 0 < holder["lease_left_seconds"] <= 30
    assert second.epoch > first.epoch
    assert nodes.heartbeat(db, first) is None
    assert nodes.heartbeat(db, second) is not None
    assert [event["boot"] for event in events(db, "boot")] == [uuid.UUID(first.boot), uuid.UUID(second.boot)]


def test_a_registration_whose_answer_was_lost_can_be_repeated(db: Database) -> None:
    first = boot(db)

    again = nodes.register(db, "node-a", first.boot)

    assert again is not None
    assert again.boot == first.boot


def test_a_node_that_said_good_bye_frees_its_name_at_once(db: Database) -> None:
    first = boot(db, lease_seconds=600.0)

    nodes.deregister(db, first, "done")

    assert nodes.register(db, "node-a", str(uuid.uuid4())) is not None
    assert [event["reason"] for event in events(db, "stop")] == ["done"]


def test_the_claim_of_an_earlier_boot_is_an_orphan_at_once(db: Database) -> None:
    id, token = claimed(db)
    put_node(db, "node-a", "lease_until = now() - interval '1 second'")
    boot(db)

    done = queue.cleanup(db, actor="test")

    assert [(each["id"], each["verdict"], each["outcome"]) for each in done.ended] == [(id, "rebooted", "queued")]
    assert done.pending == []
    assert "started again" in attempts(db, id)[0]["reason"]
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)


def test_a_quarantine_outlives_a_restart_and_ends_by_resume(db: Database) -> None:
    files(db, "a")
    node = boot(db)
    put_node(db, "node-a", "state = 'quarantined'")
    nodes.deregister(db, node, "done")
    node = boot(db)

    quarantined = claims.claim(db, node)
    changed = queue.resume(db, "node-a", actor="test")

    assert (quarantined.outcome, bool(changed)) == ("paused", True)
    assert claims.claim(db, node).outcome == "claimed"


# -- failing ---------------------------------------------------------------------------------


def test_the_back_off_doubles_up_to_an_hour_and_the_attempt_never_falls(db: Database) -> None:
    (id,) = files(db, "a")
    node = boot(db, lease_seconds=600.0)
    waits, seen = [], []
    for _ in range(12):
        answer = claims.claim_one(db, node, id)
        fail(db, id, answer.token, max_failures=12, retry_seconds=10.0)
        with db.connection() as connection:
            wait = "round(extract(epoch FROM processing_queued_at - clock_timestamp()))::int AS wait"
            (found,) = rows(
                connection, db.settings.files, f"{wait}, processing_status AS status, processing_attempt AS n"
            )
        waits.append(found["wait"] if found["status"] == "queued" else None)
        seen.append(found["n"])

    assert waits[:-1] == [pytest.approx(min(3600, 10 * 2**n), abs=2) for n in range(11)]
    assert waits[-1] is None
    assert seen == list(range(1, 13))
    assert row(db, id)["processing_failures"] == 12


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("raised", ["queued", "queued", "failed"]),
        ("crashed", ["queued", "queued", "failed"]),
        ("rejected", ["failed"]),
        ("timeout", ["failed"]),
    ],
)
def test_a_failure_is_tried_again_while_the_budget_lasts(db: Database, outcome: str, expected: list[str]) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    answers = []
    while row(db, id)["processing_status"] == "queued":
        answers.append(fail(db, id, claim(db, node).token, outcome=outcome, error=f"it {outcome}"))

    found = row(db, id)
    history = attempts(db, id)[::-1]
    assert answers == expected
    assert (found["processing_status"], found["processing_errors"]) == ("failed", f"it {outcome}")
    assert (found["processing_server_id"], found["processing_completed_at"] is None) == ("node-a", False)
    assert [(event["outcome"], event["next_status"]) for event in history] == [(outcome, state) for state in expected]
    assert [event["attempt"] for event in history] == list(range(1, len(expected) + 1))
    assert {(event["reason"], event["server_id"], event["actor"]) for event in history} == {
        (f"it {outcome}", "node-a", "test")
    }
    assert all(event["token"] and event["started_at"] <= event["ended_at"] for event in history)


def test_a_failure_told_twice_counts_once(db: Database) -> None:
    id, token = claimed(db)

    answers = [fail(db, id, token), fail(db, id, token)]

    assert answers == ["queued", "lost"]
    assert row(db, id)["processing_failures"] == 1
    assert len(attempts(db, id)) == 1


def test_a_released_file_keeps_its_place_its_failures_and_its_attempt(db: Database) -> None:
    id, token = claimed(db)
    fail(db, id, token)
    before = row(db, id)
    answer = claims.claim(db, boot(db, "node-b"))

    said = claims.release(db, id=id, token=answer.token, reason="drained", actor="node-b")

    after = row(db, id)
    assert said == "queued"
    for column in ("processing_queued_at", "processing_failures", "processing_errors"):
        assert after[column] == before[column]
    assert (after["processing_attempt"], after["processing_server_id"], after["processing_token"]) == (2, None, None)
    assert (attempts(db, id)[0]["outcome"], attempts(db, id)[0]["reason"]) == ("released", "drained")


# -- what operators do -----------------------------------------------------------------------


@pytest.mark.parametrize("was", ["failed", "completed"])
def test_a_requeued_file_has_a_fresh_budget_and_the_history_keeps_the_row_as_it_was(db: Database, was: str) -> None:
    id, token = claimed(db)
    if was == "failed":
        fail(db, id, token, outcome="rejected", error="bad header")
    else:
        claims.complete(db, id=id, token=token, result={"rows": 3})
    before = row(db, id)

    requeued = queue.requeue(db, [id], actor="me", reason="parser mended")

    after = row(db, id)
    (event,) = events(db, "requeue")
    assert [(each["id"], each["was"]) for each in requeued] == [(id, was)]
    assert (after["processing_status"], after["processing_failures"], after["processing_attempt"]) == ("queued", 0, 1)
    assert (event["actor"], event["reason"], event["file_id"], event["outcome"]) == ("me", "parser mended", id, was)
    details = event["details"]
    for column in ("status", "server_id", "attempt", "errors", "result", "failures"):
        assert details[f"processing_{column}"] == before[f"processing_{column}"]
    assert details["processing_completed_at"].startswith(f"{before['processing_completed_at']:%Y-%m-%dT%H:%M}")
    assert claims.claim(db, boot(db, "node-b")).outcome == "claimed"


def test_every_failed_file_is_every_one_and_what_fails_again_meanwhile_is_not_taken_twice(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requeuing, "_REQUEUED", 2)
    tokens = [claimed(db, f"node-{n}") for n in range(5)]
    for id, token in tokens:
        fail(db, id, token, outcome="rejected")
    real, batches = Database.run, []

    def run(self: Database, name: str, /, **values: object) -> list[dict[str, object]]:
        found = real(self, name, **values)
        if name == "requeue":
            batches.append(len(found))
            again = claims.claim(db, boot(db, f"again-{len(batches)}"))
            fail(db, again.row["id"], again.token, outcome="rejected")
        return found

    monkeypatch.setattr(Database, "run", run)

    assert len(queue.requeue(db, failed=True, actor="me")) == 5
    assert batches == [2, 2, 1]
    assert [row(db, id)["processing_status"] for id, _ in tokens].count("failed") == 3
    assert len(queue.requeue(db, [id for id, _ in tokens], limit=1, actor="me")) == 1


def test_requeue_leaves_alone_what_has_not_ended_and_what_is_deleted(db: Database) -> None:
    held, _ = claimed(db)
    queued, gone = files(db, "b", "c")
    put(db, gone, "processing_status = 'failed', deleted = true")

    requeued = queue.requeue(db, [held, queued, gone, "999"], actor="me")

    assert requeued == []
    assert [row(db, id)["processing_status"] for id in (held, queued, gone)] == ["processing", "queued", "failed"]


def test_failed_files_are_requeued_by_their_error_and_their_server(db: Database) -> None:
    ids = files(db, "a", "b", "c", "d")
    for id, error, server in zip(ids, ["line 17", "line 4", "disk full", "line 9"], "xxxy", strict=True):
        put(db, id, f"processing_status = 'failed', processing_errors = '{error}', processing_server_id = '{server}'")
    grouped = {each["error"]: each["file_count"] for each in db.run("failures", row_limit=10)}

    some = queue.requeue(db, failed=True, error="line #", server_id="x", actor="me")
    rest = queue.requeue(db, failed=True, actor="me")

    assert grouped == {"line #": 3, "disk full": 1}
    assert {each["id"] for each in some} == set(ids[:2])
    assert {each["id"] for each in rest} == set(ids[2:])


@pytest.mark.parametrize(("scope", "stopped"), [("node-a", {"node-a"}), ("*", {"node-a", "node-b"})])
def test_a_pause_stops_one_node_or_all_and_is_noted_once(db: Database, scope: str, stopped: set[str]) -> None:
    files(db, "a", "b")
    both = [boot(db, "node-a"), boot(db, "node-b")]

    changed = [queue.pause(db, scope, actor="me", reason="disk full") for _ in range(2)]
    outcomes = {node.server_id: claims.claim(db, node).outcome for node in both}
    beats = {node.server_id: beat.paused for node in both if (beat := nodes.heartbeat(db, node))}
    resumed = [queue.resume(db, scope, actor="me", reason="grown") for _ in range(2)]

    assert (list(map(bool, changed)), list(map(bool, resumed))) == ([True, False], [True, False])
    assert {name for name, outcome in outcomes.items() if outcome == "paused"} == stopped
    assert {name for name, paused in beats.items() if paused} == stopped
    assert [(event["server_id"], event["actor"], event["reason"]) for event in events(db, "pause")] == [
        (scope, "me", "disk full")
    ]
    assert len(events(db, "resume")) == 1
    for node in both:
        if node.server_id in stopped:
            assert claims.claim(db, node).outcome == "claimed"


def test_the_end_of_the_pause_of_all_leaves_a_node_paused_that_was_paused_by_name(db: Database) -> None:
    files(db, "a")
    node = boot(db)
    queue.pause(db, "*", actor="me")
    queue.pause(db, "node-a", actor="me")

    queue.resume(db, "*", actor="me")

    assert claims.claim(db, node).outcome == "paused"


def test_a_pause_does_not_touch_work_in_hand(db: Database) -> None:
    id, token = claimed(db)

    queue.pause(db, actor="me")

    assert claims.complete(db, id=id, token=token) == "done"


def test_rows_from_before_are_adopted_in_batches(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    files(db, *(f"file-{n}" for n in range(25)))
    with application(db.settings) as connection:
        run(connection, f"UPDATE {db.settings.files} SET processing_status = NULL")
        run(connection, f"UPDATE {db.settings.files} SET deleted = true WHERE original_filename = 'file-3'")
    monkeypatch.setattr(adopting, "_BATCH", 10)
    said: list[tuple[int, int]] = []

    counted = queue.adopt(db, "original_filename <> 'file-4'", actor="me", dry_run=True)
    nothing_yet = db.run("distribution")
    adopted = queue.adopt(db, "original_filename <> 'file-4'", actor="me", on_progress=lambda *now: said.append(now))
    again = queue.adopt(db, "original_filename <> 'file-4'", actor="me")

    assert (counted, adopted, again) == (23, 23, 0)
    assert nothing_yet == []
    assert said == [(10, 23), (20, 23), (23, 23)]
    assert db.run("distribution") == [{"processing_server_id": None, "processing_status": "queued", "file_count": 23}]
    assert [event["reason"] for event in events(db, "adopt")] == [f"{n} files from before" for n in (10, 10, 3)]


def test_a_condition_for_adoption_cannot_write(db: Database) -> None:
    (id,) = files(db, "a")
    put(db, id, "processing_status = NULL")
    with application(db.settings) as connection:
        run(
            connection,
            f"""CREATE FUNCTION vandal() RETURNS boolean LANGUAGE sql AS
                            $$ DELETE FROM {db.settings.files} RETURNING true $$""",
        )

    with pytest.raises(OpskitError, match="read-only"):
        queue.adopt(db, "vandal()", actor="me")

    assert row(db, id)["id"] == int(id)


def test_silent_nodes_and_old_events_are_pruned_but_not_a_node_that_holds_a_file(db: Database) -> None:
    claimed(db, "holder")
    for name in ("old", "recent"):
        boot(db, name)
    put_node(db, "holder", "lease_until = now() - interval '30 days'")
    put_node(db, "old", "lease_until = now() - interval '8 days'")
    put_node(db, "recent", "lease_until = now() - interval '6 days'")
    with db.connection() as connection:
        run(connection, f"UPDATE {db.names['events']} SET at = now() - interval '91 days' WHERE server_id = 'old'")

    gone = queue.prune(db)

    assert gone == {"nodes": 1, "events": 1, "logs": 0}
    assert {found["server_id"] for found in rows_of_nodes(db)} == {"holder", "recent"}


def test_the_database_of_a_node_that_may_not_write_says_so_in_one_sentence(db: Database) -> None:
    files(db, "a")
    node = boot(db)
    with application(db.settings) as connection:
        name = sql.Identifier(connection.info.dbname)
        run(connection, "ALTER DATABASE {} SET default_transaction_read_only = on", name)

    with Database(db.settings, pooled=False) as fresh, pytest.raises(DatabaseError) as refused:
        claims.claim(fresh, node)

    assert refused.value.sqlstate == "25006"
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert "\n" not in str(refused.value)


def test_a_node_whose_row_was_removed_does_not_take_what_it_held_for_its_own(db: Database) -> None:
    id, token = claimed(db)
    with application(db.settings) as connection:
        run(connection, f"UPDATE {db.settings.files} SET processing_epoch = 7 WHERE id = {id}")
        run(connection, f"DELETE FROM {db.names['nodes']}")

    again = boot(db)
    done = queue.cleanup(db, server_id="node-a", actor="test")

    assert again.epoch == 8
    assert [(each["id"], each["verdict"]) for each in done.ended] == [(id, "rebooted")]
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)
