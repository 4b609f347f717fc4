"""Ending a file: in one transaction with its writes, told apart from lost ones, beside other transactions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg import errors as pg

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError, DatabaseError, DatabaseUnavailableError
from opskit.queue import claims, nodes
from tests.support.nodes import until
from tests.support.promises import waiting
from tests.support.tables import application, boot, claim, claimed, fail, files, row, rows, run

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
