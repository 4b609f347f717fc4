"""Traps that other queues fell into: each is one test, with real nodes where it takes one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from opskit.queue import claims
from tests.support.nodes import Node, add_files, add_many, ask, counts, record, running_nodes, status, until, violations
from tests.support.tables import application, boot, claim, files, row, run

Start = Callable[..., Node]


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


def test_a_processor_that_holds_the_gil_for_longer_than_the_lease_is_not_robbed(db: Database, start: Start) -> None:
    record(db)
    (file,) = add_files(db, "a")
    node = start("node-a", "--drain", act="hold_gil", ACT_SECONDS="4", OPSKIT_LEASE_SECONDS="1.5")
    until(lambda: status(db, file) == "processing")

    start("node-b", act="nothing", OPSKIT_LEASE_SECONDS="1.5")

    assert node.end() == 0
    done = db.one("file", id=file)
    assert (done["processing_status"], done["processing_server_id"], done["processing_attempt"]) == (
        "completed",
        "node-a",
        1,
    )
    assert violations(db) == []


def test_a_node_whose_listening_session_was_ended_is_woken_again_by_notification(db: Database, start: Start) -> None:
    node = start("node-a", OPSKIT_POLL_SECONDS="600")
    (first,) = add_files(db, "first")
    until(lambda: status(db, first) == "completed")

    for n in range(3):
        ended = ask(
            db,
            "SELECT pid, pg_terminate_backend(pid) AS ended FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'opskit development%node-a'",
        )
        assert len(ended) == 1, node.log
        (file,) = add_files(db, f"file-{n}")
        until(lambda file=file: status(db, file) == "completed")


@pytest.mark.slow
def test_a_node_that_starts_resets_nothing_that_the_living_work_on(db: Database, start: Start) -> None:
    own, plain, later = add_files(db, "held by a node", "held by an older processor", "later")
    ask(db, f"UPDATE {db.settings.files} SET processing_queued_at = now() + interval '1 h' WHERE id <> %s", own)
    start("node-a", act="slow", ACT_SECONDS="100")
    until(lambda: status(db, own) == "processing")
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'old' WHERE id = %s",
        plain,
    )
    before = [row(db, id) for id in (own, plain)]

    ask(db, f"UPDATE {db.settings.files} SET processing_queued_at = now() WHERE id = %s", later)
    start("node-b", act="nothing")
    until(lambda: status(db, later) == "completed")

    assert [row(db, id) for id in (own, plain)] == before


def test_a_row_that_a_foreign_key_of_the_application_has_locked_is_claimed_and_completed(db: Database) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    with application(db.settings) as connection:
        run(connection, f"CREATE TABLE notes (file_id bigint REFERENCES {db.settings.files}, note text)")

        with connection.transaction():
            run(connection, f"INSERT INTO notes VALUES ({id}, 'its row is locked FOR KEY SHARE')")
            held = claim(db, node)
            answer = claims.complete(db, id=id, token=held.token, patience_seconds=0)

    assert answer == "done"
    assert row(db, id)["processing_status"] == "completed"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_nodes_work_in_a_database_whose_default_is_another_isolation_level(
    db: Database, start: Start, level: str
) -> None:
    record(db)
    add_many(db, 60)
    name = db.settings.database_url.rpartition("/")[2] if db.settings.database_url else ""
    ask(db, f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'")

    nodes = [start(f"node-{n}", "--drain", act="effect") for n in range(3)]

    assert [node.end() for node in nodes] == [0, 0, 0]
    assert counts(db) == {"completed": 60}
    assert violations(db) == []
    for node in nodes:
        assert "could not serialize" not in node.log


@pytest.mark.slow
def test_a_ctrl_c_that_reaches_the_child_does_not_cut_its_commit_short(db: Database, start: Start) -> None:
    """It would cancel the wait for a standby, and look like success."""
    record(db)
    (file,) = add_files(db, "a")
    node = start("node-a", act="effect", ACT_SECONDS="1")
    until(lambda: status(db, file) == "processing")
    child = node.own_child()

    for _ in range(20):
        os.kill(child, signal.SIGINT)
        threading.Event().wait(0.1)

    until(lambda: status(db, file) == "completed")
    assert node.child() == child
    assert row(db, file)["processing_attempt"] == 1
