"""Frozen processes: a node's child, its supervisor, or a whole node with and without the fence."""

from __future__ import annotations

import os
import signal
import time

import pytest

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.nodes import Node, add_files, ask, record, status, until, violations
from tests.support.waiting import PROCESSORS, drained, prove, reasons, said


def in_hand(db: Database, node: Node) -> str | None:
    """The file that a node holds."""
    rows = db.run("held", server_id=node.name)
    return rows[0]["id"] if rows else None


def freeze_child(db: Database, node: Node, file: str) -> None:
    """Freeze the child of a node while it holds this file. A busy machine that is too late for it says so."""
    os.kill(node.own_child(), signal.SIGSTOP)
    assert in_hand(db, node) == file, "the file ended before its child was frozen"


@pytest.mark.slow
def test_a_frozen_child_under_a_living_supervisor_is_not_robbed_and_finishes_when_it_thaws(
    db: Database, start: Start
) -> None:
    record(db)
    (file,) = add_files(db, "a")
    node = start("node-a", act="effect", ACT_SECONDS="2")
    until(lambda: in_hand(db, node) == file)
    start("node-b", act="effect")

    freeze_child(db, node, file)
    time.sleep(db.settings.lease_seconds * 2)
    assert in_hand(db, node) == file
    os.kill(node.own_child(), signal.SIGCONT)

    drained(db, 1, 30, node)
    prove(db, 1)
    assert ask(db, "SELECT server_id FROM effects") == [{"server_id": "node-a"}]
    assert reasons(db) == []


@pytest.mark.slow
def test_a_child_frozen_for_longer_than_stale_after_is_ended_by_its_own_supervisor_and_the_file_fails(
    db: Database, start: Start
) -> None:
    record(db)
    file, later = add_files(db, "a", "b")
    # The later file takes no time: on a busy machine it could be stale as well.
    node = start("node-a", act="effect", ACT_SECONDS="2", ACT_FILE="a", OPSKIT_STALE_AFTER_SECONDS="4")
    until(lambda: in_hand(db, node) == file)

    freeze_child(db, node, file)

    until(lambda: status(db, later) == "completed")
    assert status(db, file) == "failed"
    assert [outcome for outcome, _ in reasons(db)] == ["timeout"]
    assert reasons(db)[0][1].startswith("Processing timeout: no progress for")
    assert violations(db) == []


@pytest.mark.slow
def test_a_child_whose_supervisor_is_frozen_past_the_lease_is_refused_and_the_node_goes_on_when_it_thaws(
    db: Database, start: Start
) -> None:
    record(db)
    (file,) = add_files(db, "a")
    node = start("node-a", act="effect", ACT_SECONDS="5")
    until(lambda: in_hand(db, node) == file)

    os.kill(node.process.pid, signal.SIGSTOP)
    heir = start("node-b", act="effect", ACT_SECONDS="0.1")
    until(lambda: status(db, file) == "completed")
    until(lambda: said(node, "is lost") == 1)
    os.kill(node.process.pid, signal.SIGCONT)
    heir.kill(signal.SIGTERM)
    heir.end()
    (later,) = add_files(db, "b")

    until(lambda: status(db, later) == "completed")
    prove(db, 2)
    assert ask(db, "SELECT server_id FROM effects ORDER BY n") == [{"server_id": "node-b"}, {"server_id": "node-a"}]
    assert [outcome for outcome, _ in reasons(db)] == ["orphaned"]


@pytest.mark.slow
def test_the_checker_catches_a_zombie_that_completes_by_id_alone(db: Database, start: Start) -> None:
    record(db)
    (file,) = add_files(db, "a")
    unfenced = {"act": "fault_processors:unfenced", **PROCESSORS}
    node = start("node-a", ACT_SECONDS="1", **unfenced)
    until(lambda: in_hand(db, node) == file)
    child = node.own_child()
    for pid in (node.process.pid, child):
        os.kill(pid, signal.SIGSTOP)

    start("node-b", ACT_SECONDS="0", **unfenced)
    until(lambda: status(db, file) == "completed")
    os.kill(child, signal.SIGCONT)

    until(lambda: ask(db, "SELECT count(*) AS n FROM effects") == [{"n": 2}])
    assert violations(db) == [f"file {file} has 2 effects"]
