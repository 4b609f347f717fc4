"""completing() tells the truth: "completed" is said of a file when its completion is committed, and only then."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import ClaimLostError
from opskit.files.claimed import ClaimedFile
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus, Snapshot
from tests.support.nodes import SUPPORT, ask, running_nodes, status
from tests.support.tables import attempts, boot, files, opskit, row

Processor = Callable[[ClaimedFile], Any]
Drained = Callable[[Processor], Snapshot]
KEPT: list[Any] = []


@pytest.fixture
def drained(db: Database) -> Iterator[Drained]:
    """Have a child of this process's own drain the queue; what it has counted."""
    ask(db, "CREATE TABLE effects (file_id text)")
    ask(db, "CREATE TABLE parents (id int PRIMARY KEY)")
    ask(db, "CREATE TABLE children (id int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
    shared_status = SharedStatus()

    def run(processor: Processor) -> Snapshot:
        with Database(db.settings, pooled=False, node=True) as own:
            assert Child(own, shared_status, boot(db), processor).run(drain=True) == 0
        return shared_status.read()

    yield run
    KEPT.clear()
    shared_status.close()


def write(tx: Connection, file: ClaimedFile) -> None:
    tx.execute("INSERT INTO effects (file_id) VALUES (%s)", (file.id,))


def effects(db: Database) -> int:
    return int(ask(db, "SELECT count(*) AS n FROM effects")[0]["n"])


# -- what is not committed is not completed --------------------------------------------------


def swallowed_error(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        with contextlib.suppress(psycopg.Error):
            tx.execute("SELECT 1/0")


def swallowed_error_in_two_places(file: ClaimedFile) -> None:
    with contextlib.suppress(Exception):
        swallowed_error(file)


def rollback_in_sql(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("ROLLBACK")


def rollback_and_another_transaction(file: ClaimedFile) -> None:
    with file.completing() as tx:
        tx.execute("ROLLBACK; BEGIN")
        write(tx, file)


def rollback_and_chain(file: ClaimedFile) -> None:
    with file.completing() as tx:
        tx.execute("ROLLBACK AND CHAIN")
        write(tx, file)


def rollback_of_the_driver(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        raise psycopg.Rollback


def commit_of_the_driver(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.commit()


def connection_as_its_own_block(file: ClaimedFile) -> None:
    with file.completing() as tx, tx:
        write(tx, file)


def closed_connection(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.close()


def copy_left_open(file: ClaimedFile) -> None:
    with file.completing() as tx:
        KEPT.append(tx.cursor().copy("COPY effects FROM STDIN"))
        KEPT[-1].__enter__().write_row(("half",))


def pipeline_left_open(file: ClaimedFile) -> None:
    with file.completing() as tx:
        KEPT.append(tx.pipeline())
        KEPT[-1].__enter__()
        write(tx, file)


def deferred_constraint(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("INSERT INTO children VALUES (7)")


def block_never_ended(file: ClaimedFile) -> None:
    KEPT.append(file.completing())
    write(KEPT[-1].__enter__(), file)


def block_never_ended_and_forgotten(file: ClaimedFile) -> None:
    write(file.completing().__enter__(), file)


def block_left_open_in_a_thread(file: ClaimedFile) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.suppress(Exception), file.completing() as tx:
            write(tx, file)
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    KEPT.append((leave, thread))
    assert entered.wait(10)


def claim_lost_by_its_own_word(file: ClaimedFile) -> None:
    raise ClaimLostError


NOT_COMMITTED = [
    swallowed_error, swallowed_error_in_two_places, rollback_in_sql, rollback_and_another_transaction,
    rollback_and_chain, rollback_of_the_driver, commit_of_the_driver, connection_as_its_own_block, closed_connection,
    copy_left_open, pipeline_left_open, deferred_constraint, block_never_ended,
    block_never_ended_and_forgotten, block_left_open_in_a_thread, claim_lost_by_its_own_word,
]  # fmt: skip


@pytest.mark.parametrize("processor", NOT_COMMITTED, ids=lambda one: one.__name__)
def test_a_file_whose_completion_is_not_committed_fails_its_attempt_and_the_next_file_is_processed(
    db: Database, drained: Drained, processor: Processor
) -> None:
    bad, good = files(db, "bad", "good")

    snapshot = drained(lambda file: processor(file) if file.id == bad else None)

    for leave, thread in (kept for kept in KEPT if isinstance(kept, tuple)):
        leave.set()
        thread.join(10)
    assert (status(db, bad), status(db, good)) == ("failed", "completed")
    assert [event["outcome"] for event in attempts(db, bad)] == ["raised"] * 3
    assert (snapshot.completed, snapshot.failed, snapshot.retried) == (1, 1, 2)
    assert effects(db) == 0
    assert row(db, bad)["processing_attempt"] == 3


def test_the_swallowed_error_is_named(db: Database, drained: Drained) -> None:
    (id,) = files(db, "bad")

    drained(swallowed_error)

    error = row(db, id)["processing_errors"]
    assert "its error was not raised (DivisionByZero: division by zero)" in error
    assert error.endswith("nothing is written")


def test_a_lost_connection_whose_error_is_swallowed_interrupts_the_attempt(db: Database, drained: Drained) -> None:
    (id,) = files(db, "a")

    def processor(file: ClaimedFile) -> None:
        with file.completing() as tx:
            write(tx, file)
            if file.attempt == 1:
                with contextlib.suppress(psycopg.Error):
                    tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    snapshot = drained(processor)

    assert [event["outcome"] for event in attempts(db, id)] == ["interrupted"]
    assert (status(db, id), snapshot.completed, effects(db)) == ("completed", 1, 1)


# -- what is committed is completed ----------------------------------------------------------


def savepoint(file: ClaimedFile) -> None:
    with file.completing() as tx:
        with contextlib.suppress(psycopg.Error), tx.transaction():
            tx.execute("SELECT 1/0")
        with tx.transaction():
            write(tx, file)


def commit_in_sql(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("COMMIT")


def commit_and_close(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("COMMIT")
        tx.close()


def commit_and_raise(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("COMMIT")
        raise ValueError("after it")


def commit_and_another_transaction(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("COMMIT; BEGIN")
        tx.execute("INSERT INTO effects VALUES ('too late')")


def begin_in_sql(file: ClaimedFile) -> None:
    with file.completing() as tx:
        tx.execute("BEGIN")
        write(tx, file)


def cursor_left_open(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("DECLARE kept CURSOR FOR SELECT 1")


def autocommit_left_off(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("COMMIT")
        tx.autocommit = False


def another_role_and_path(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        tx.execute("SELECT pg_sleep(0.15)")
        tx.execute("SET LOCAL search_path = pg_temp; SET LOCAL ROLE pg_monitor")


def error_after_the_block(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
    raise ValueError("too late")


def exit_after_the_block(file: ClaimedFile) -> None:
    savepoint(file)
    raise SystemExit(3)


def two_blocks(file: ClaimedFile) -> None:
    for _ in range(2):
        with file.completing() as tx:
            write(tx, file)


def block_within_a_block(file: ClaimedFile) -> None:
    with file.completing() as tx:
        write(tx, file)
        with contextlib.suppress(Exception), file.completing():
            raise AssertionError("opened twice")


def block_tried_again(file: ClaimedFile) -> None:
    with contextlib.suppress(Exception):
        swallowed_error(file)
    with file.completing() as tx:
        write(tx, file)


def block_in_a_thread(file: ClaimedFile) -> None:
    thread = threading.Thread(target=savepoint, args=(file,))
    thread.start()
    thread.join()


def unstorable_result(file: ClaimedFile) -> Any:
    savepoint(file)
    return {("a", "tuple"): 1}


COMMITTED = [
    savepoint, commit_in_sql, commit_and_close, commit_and_raise, commit_and_another_transaction, begin_in_sql,
    cursor_left_open, autocommit_left_off, another_role_and_path, error_after_the_block, exit_after_the_block,
    two_blocks, block_within_a_block, block_tried_again, block_in_a_thread, unstorable_result,
]  # fmt: skip


@pytest.mark.parametrize("processor", COMMITTED, ids=lambda one: one.__name__)
@pytest.mark.filterwarnings("ignore:.*transaction already in progress")
def test_a_file_whose_completion_is_committed_counts_as_completed_once(
    db: Database, drained: Drained, processor: Processor
) -> None:
    first, second = files(db, "first", "second")

    snapshot = drained(processor)

    assert (status(db, first), status(db, second)) == ("completed", "completed")
    assert attempts(db, first) == []
    assert (snapshot.completed, snapshot.failed, snapshot.retried) == (2, 0, 0)
    assert ask(db, "SELECT file_id FROM effects ORDER BY 1") == [{"file_id": first}, {"file_id": second}]
    assert row(db, first)["processing_attempt"] == 1


def test_what_is_written_after_a_commit_of_the_processors_own_is_told(
    db: Database, drained: Drained, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id,) = files(db, "a")
    monkeypatch.setattr(logging.getLogger("opskit"), "propagate", True)

    drained(commit_and_another_transaction)

    assert f"file {id} (a) attempt 1 is completed: " in caplog.text
    assert "with what was written before the processor's own COMMIT; what came after it is rolled back" in caplog.text


# -- the connection after the block ----------------------------------------------------------


def test_a_connection_that_is_kept_after_its_block_is_refused_and_swallows_no_completion(
    db: Database, drained: Drained
) -> None:
    first, second, third = files(db, "a", "b", "c")
    refused: list[str] = []

    def processor(file: ClaimedFile) -> None:
        if file.id == first:
            with file.completing() as tx:
                KEPT.append(tx)
        elif file.id == second:
            try:
                KEPT[0].execute("BEGIN")
            except psycopg.ProgrammingError as error:
                refused.append(str(error))
            # Past the driver nobody can be refused.
            KEPT[0].pgconn.exec_(b"BEGIN")

    snapshot = drained(processor)

    assert [status(db, id) for id in (first, second, third)] == ["completed"] * 3
    assert snapshot.completed == 3
    assert refused == ["this connection was lent for the block of completing(), which has ended"]


def test_a_block_that_is_opened_after_its_attempt_has_ended_is_refused(db: Database, drained: Drained) -> None:
    first, second = files(db, "a", "b")
    refused: list[str] = []

    def processor(file: ClaimedFile) -> None:
        KEPT.append(file)
        try:
            with KEPT[0].completing() as tx:
                write(tx, KEPT[0])
        except ClaimLostError as error:
            refused.append(str(error))

    drained(processor)

    assert refused == [f"the attempt at file {first} has ended; nothing was written"]
    assert status(db, second) == "completed"


# -- an attempt that began ends counted ------------------------------------------------------


def test_an_attempt_whose_end_was_not_written_down_is_counted_and_not_released(db: Database) -> None:
    """Whatever makes a child believe that it holds nothing: the file must not come back for ever."""
    (id,) = files(db, "a")
    shared_status, seen = SharedStatus(), []

    def forget(*_: Any, **__: Any) -> None:
        shared_status.end()

    def processor(file: ClaimedFile) -> None:
        if file.id == id:
            seen.append(file.attempt)
            files(db, "another")
            raise ValueError("never told")

    with Database(db.settings, pooled=False, node=True) as own, contextlib.closing(shared_status):
        child = Child(own, shared_status, boot(db), processor)
        setattr(child._outcomes, "fail", forget)  # noqa: B010  # a method is replaced
        child.run(drain=True)
        snapshot = shared_status.read()

    assert seen == [1, 2, 3]
    assert status(db, id) == "failed"
    assert {event["reason"] for event in attempts(db, id)} == {"the attempt began, and its end was not written down"}
    assert (snapshot.completed, snapshot.failed, snapshot.retried) == (3, 1, 2)


def test_a_prepared_transaction_does_not_keep_its_file(db: Database, drained: Drained) -> None:
    (id,) = files(db, "a")

    def processor(file: ClaimedFile) -> None:
        with file.completing() as tx:
            write(tx, file)
            tx.execute("PREPARE TRANSACTION 'left behind'")

    drained(processor)

    assert status(db, id) == "failed"
    assert ask(db, "SELECT gid FROM pg_prepared_xacts") == []
    assert "ended the transaction of completing() by itself" in row(db, id)["processing_errors"]


# -- what a person sees ----------------------------------------------------------------------


def test_a_node_says_completed_of_no_file_whose_processor_swallows_a_database_error(
    db: Database, tmp_path: Path
) -> None:
    bad, good = files(db, "swallow", "good")

    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", "--json", act="swallow")
        assert node.end() == 0
        said = json.loads(node.said())

    assert (said["completed"], said["failed"], said["retried"]) == (1, 1, 2)
    assert "done: 1 completed, 1 failed, 2 to be tried again" in node.log
    assert (status(db, bad), status(db, good)) == ("failed", "completed")
    assert [event["outcome"] for event in attempts(db, bad)] == ["raised"] * 3


def test_a_file_that_is_processed_by_hand_fails_when_its_processor_swallows_a_database_error(db: Database) -> None:
    (id,) = files(db, "swallow")
    settings = dataclasses.replace(db.settings, processor="processors:swallow")

    done = opskit(settings, "process", id, PYTHONPATH=str(SUPPORT))

    assert done.returncode == 1
    assert f"file {id} (swallow) is queued" in done.stdout
    assert "its error was not raised (DivisionByZero: division by zero)" in " ".join(done.stdout.split())
    assert len(attempts(db, id)) == 1
