"""Nodes and children that are killed, frozen, stopped, given bad files: each file has the right next state."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support.node_steps import Start, in_hand
from tests.support.nodes import add_files, ask, counts, record, status, until, violations


def last_attempt(db: Database, id: str) -> dict[str, object]:
    """The newest event of a file."""
    return db.run("events", file_id=id, kind="attempt", row_limit=1)[0]


def test_a_killed_child_costs_its_file_one_attempt_and_the_queue_goes_on(db: Database, start: Start) -> None:
    first, second = add_files(db, "a", "b")
    node = start("node-a", act="slow", ACT_SECONDS="1")
    until(lambda: in_hand(db, node) == first and node.child())

    os.kill(node.own_child(), signal.SIGKILL)

    until(lambda: counts(db) == {"completed": 2})
    event = last_attempt(db, first)
    assert event["outcome"] == "crashed"
    assert "killed by signal 9" in str(event["reason"])
    assert ask(db, f"SELECT processing_attempt AS n FROM {db.settings.files} WHERE id = %s", first)[0]["n"] == 2
    assert second


def test_a_killed_supervisor_takes_its_child_along_and_another_node_gets_the_file(db: Database, start: Start) -> None:
    (file,) = add_files(db, "a")
    node = start("node-a", act="slow", ACT_SECONDS="60")
    until(lambda: in_hand(db, node) == file)
    child = node.child()

    node.kill()
    node.end()

    until(
        lambda: not Path(f"/proc/{child}/status").exists() or "Z (zombie)" in Path(f"/proc/{child}/status").read_text()
    )
    heir = start("node-b", act="slow", ACT_SECONDS="0.1")
    # lease 2 s, two ticks of a third of it, and the time to start
    until(lambda: status(db, file) == "completed", 10)
    event = last_attempt(db, file)
    assert event["outcome"] == "orphaned"
    assert "node-a has been silent" in str(event["reason"])
    assert heir.process.poll() is None


def test_supervisor_and_child_killed_together_leave_a_file_that_the_next_boot_takes_back(
    db: Database, start: Start
) -> None:
    (file,) = add_files(db, "a")
    node = start("node-a", act="slow", ACT_SECONDS="60")
    until(lambda: in_hand(db, node) == file)

    os.kill(node.own_child(), signal.SIGKILL)
    node.kill()
    node.end()
    again = start("node-a", "--drain", act="slow", ACT_SECONDS="0.1")

    assert again.end() == 0
    assert status(db, file) == "completed"
    outcomes = {event["outcome"] for event in db.run("events", file_id=file, kind="attempt", row_limit=10)}
    # Either the supervisor still saw its child die, or the next boot found the claim.
    assert outcomes <= {"orphaned", "crashed"}
    assert outcomes


def test_sigterm_lets_the_file_in_hand_be_finished(db: Database, start: Start) -> None:
    first, second = add_files(db, "a", "b")
    node = start("node-a", act="slow", ACT_SECONDS="1")
    until(lambda: in_hand(db, node) == first)

    node.kill(signal.SIGTERM)

    assert node.end() == 0
    assert status(db, first) == "completed"
    assert status(db, second) == "queued"
    assert db.run("nodes")[0]["state"] == "stopped"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("how", ["grace", "twice"])
def test_a_file_that_outlasts_the_grace_goes_back_unharmed(db: Database, start: Start, how: str) -> None:
    (file,) = add_files(db, "a")
    seconds = "0.3" if how == "grace" else "60"
    node = start("node-a", act="slow", ACT_SECONDS="60", OPSKIT_DRAIN_SECONDS=seconds)
    until(lambda: in_hand(db, node) == file)

    node.kill(signal.SIGTERM)
    if how == "twice":
        until(lambda: "stopping: told by SIGTERM" in node.log)
        node.kill(signal.SIGTERM)

    assert node.end() == 0
    row = db.one("file", id=file)
    assert (row["processing_status"], row["processing_failures"], row["processing_attempt"]) == ("queued", 0, 1)
    assert last_attempt(db, file)["outcome"] == "released"


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    ("act", "state", "attempts", "outcome", "reason"),
    [
        ("raise", "failed", 3, "raised", "ValueError: cannot parse line 17"),
        ("reject", "failed", 1, "rejected", "not a statement of account"),
        ("exit", "failed", 3, "raised", "SystemExit: 3"),
        ("leave", "failed", 3, "crashed", "the child ended by itself with exit code 0"),
        ("segfault", "failed", 3, "crashed", "signal 11 (SIGSEGV)"),
        ("kill", "failed", 3, "crashed", "killed by signal 9 (SIGKILL), perhaps out of memory"),
        ("hang", "failed", 3, "crashed", "over its hard limit of 0.5 s"),
        ("once", "completed", 2, "crashed", "killed by signal 9"),
    ],
)
def test_a_bad_end_has_the_right_next_state_and_the_true_reason(
    db: Database, start: Start, act: str, state: str, attempts: int, outcome: str, reason: str
) -> None:
    file, fine = add_files(db, f"{act}-1", "fine-1")

    # Only what hangs shall meet the limit: on a busy machine a traceback alone may take half a second.
    limit = "0.5" if act == "hang" else "60"
    node = start("node-a", "--drain", act="by_name", OPSKIT_HARD_LIMIT_SECONDS=limit)

    assert node.end() == 0
    row = db.one("file", id=file)
    assert (row["processing_status"], row["processing_attempt"]) == (state, attempts)
    assert last_attempt(db, file)["outcome"] == outcome
    assert reason in str(last_attempt(db, file)["reason"])
    assert status(db, fine) == "completed"
    if state == "failed":
        assert reason in row["processing_errors"]


def test_a_child_without_progress_is_stopped_by_its_own_supervisor_and_the_file_fails(
    db: Database, start: Start
) -> None:
    file, fine = add_files(db, "hang-1", "fine-1")

    node = start("node-a", "--drain", act="by_name", OPSKIT_STALE_AFTER_SECONDS="0.5")

    assert node.end() == 0
    row = db.one("file", id=file)
    assert row["processing_status"] == "failed"
    assert row["processing_errors"].startswith("Processing timeout")
    assert last_attempt(db, file)["outcome"] == "timeout"
    assert status(db, fine) == "completed"


def test_a_second_process_with_the_same_server_id_waits_and_takes_over_when_the_first_dies(
    db: Database, start: Start
) -> None:
    first = start("node-a", act="slow")
    until(lambda: "registered" in first.log)
    second = start("node-a", act="slow", ACT_SECONDS="0.1")
    until(lambda: "server ID node-a is alive on" in second.log)
    (file,) = add_files(db, "a")
    until(lambda: status(db, file) == "completed")
    assert "registered" not in second.log

    first.kill()
    killed = time.monotonic()

    until(lambda: "registered" in second.log, 5)
    assert time.monotonic() - killed < db.settings.lease_seconds + 1
    (later,) = add_files(db, "b")
    until(lambda: status(db, later) == "completed")


def test_a_frozen_node_is_refused_when_it_thaws_and_its_heir_keeps_the_file(db: Database, start: Start) -> None:
    record(db)
    (file,) = add_files(db, "a")
    frozen = start("node-a", act="effect", ACT_SECONDS="1")
    until(lambda: in_hand(db, frozen) == file)
    child = frozen.own_child()
    for pid in (frozen.process.pid, child):
        os.kill(pid, signal.SIGSTOP)

    heir = start("node-b", act="effect", ACT_SECONDS="0")
    until(lambda: status(db, file) == "completed", 12)
    # The child thaws first and goes for its commit, before its supervisor can stop it.
    os.kill(child, signal.SIGCONT)
    until(lambda: "lost" in frozen.log, 10)
    os.kill(frozen.process.pid, signal.SIGCONT)

    (later,) = add_files(db, "b")
    until(lambda: status(db, later) == "completed")
    assert violations(db) == []
    assert [row["server_id"] for row in ask(db, "SELECT * FROM effects WHERE file_id = %s", file)] == ["node-b"]
    assert heir.process.poll() is None


def test_a_running_node_reaps_an_old_claim_of_an_unknown_server_and_leaves_a_younger_one(
    db: Database, start: Start
) -> None:
    old, young = add_files(db, "old", "young")
    for id, age in ((old, "2 hours"), (young, "59 minutes")):
        ask(
            db,
            f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'ghost-' || id, "
            f"processing_started_at = now() - interval '{age}' WHERE id = %s",
            id,
        )

    start("node-a")

    until(lambda: status(db, old) == "failed")
    assert db.one("file", id=old)["processing_errors"].startswith("Processing timeout")
    assert last_attempt(db, old)["outcome"] == "timeout"
    assert status(db, young) == "processing"


def test_a_child_whose_claim_was_ended_by_an_operator_is_stopped(db: Database, start: Start) -> None:
    (file,) = add_files(db, "a")
    node = start("node-a", act="slow", ACT_SECONDS="60")
    until(lambda: in_hand(db, node) == file)
    child = node.child()

    # Failed by a plain UPDATE of the application, under the node's hands.
    ask(db, f"UPDATE {db.settings.files} SET processing_status = 'failed' WHERE id = %s", file)

    until(lambda: "its claim was ended by others" in node.log)
    until(lambda: node.child() not in (None, child))
    (later,) = add_files(db, "b")
    until(lambda: in_hand(db, node) == later)
    assert status(db, file) == "failed"
