"""Nodes as users start them: many at once, told to pause, told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support import python_programs
from tests.support.node_steps import Start, in_hand
from tests.support.nodes import SUPPORT, add_files, add_many, ask, counts, record, status, until, violations


@pytest.mark.slow
def test_eight_nodes_claim_each_of_two_thousand_files_once_and_never_two_at_a_time(db: Database, start: Start) -> None:
    record(db)
    add_many(db, 2000)

    nodes = [start(f"node-{n}", "--drain", act="effect") for n in range(8)]
    codes = [node.end(90) for node in nodes]

    assert codes == [0] * 8
    assert counts(db) == {"completed": 2000}
    assert violations(db) == []
    assert ask(db, "SELECT count(*) AS n FROM effects")[0]["n"] == 2000
    assert len({row["processing_server_id"] for row in db.run("distribution")}) == 8


def test_the_checker_catches_two_files_in_one_hand_and_a_doubled_completion(db: Database) -> None:
    record(db)
    first, second = add_files(db, "a", "b")
    # What a processor without fence and without index could do, written by hand.
    ask(db, f"DROP INDEX {db.names['held_index']}")
    for id in (first, second):
        ask(
            db,
            f"UPDATE {db.settings.files} SET processing_status = 'processing', processing_server_id = 'n', "
            "processing_token = gen_random_uuid(), processing_epoch = 1, processing_started_at = now() WHERE id = %s",
            id,
        )
    for became in ("completed", "queued", "completed"):
        ask(
            db,
            f"UPDATE {db.settings.files} SET processing_status = '{became}', processing_token = NULL WHERE id = %s",
            first,
        )

    wrong = violations(db)

    assert any("held" in phrase for phrase in wrong)
    assert any("completed 2 times" in phrase for phrase in wrong)


def test_slow_work_with_progress_under_a_live_lease_is_left_alone(db: Database, start: Start) -> None:
    (file,) = add_files(db, "a")
    settings = {"OPSKIT_LEASE_SECONDS": "0.6", "OPSKIT_STALE_AFTER_SECONDS": "1"}

    worker = start("node-a", "--drain", act="slow", ACT_SECONDS="3", **settings)
    until(lambda: in_hand(db, worker) == file)
    start("node-b", act="slow", **settings)

    assert worker.end() == 0
    row = db.one("file", id=file)
    assert (row["processing_status"], row["processing_server_id"], row["processing_attempt"]) == (
        "completed",
        "node-a",
        1,
    )


def test_an_idle_node_picks_up_a_new_file_by_notification_long_before_it_polls(db: Database, start: Start) -> None:
    node = start("node-a", OPSKIT_POLL_SECONDS="60")
    until(lambda: "registered" in node.log and node.child())
    warm_up = add_files(db, "first")[0]
    until(lambda: status(db, warm_up) == "completed")

    (file,) = add_files(db, "a")

    until(lambda: status(db, file) == "completed", 2)


def test_a_node_claims_nothing_while_paused_and_goes_on_when_resumed(db: Database, start: Start) -> None:
    db.run("pause", scope="*", actor="test", reason="")
    node = start("node-a")
    (file,) = add_files(db, "a")
    until(lambda: "registered" in node.log and node.child())
    before = ask(db, f"SELECT beat_at FROM {db.names['nodes']}")[0]["beat_at"]
    until(lambda: ask(db, f"SELECT beat_at FROM {db.names['nodes']}")[0]["beat_at"] > before)
    assert status(db, file) == "queued"

    db.run("resume", scope="*", actor="test", reason="")

    until(lambda: status(db, file) == "completed")


def test_a_node_told_to_drain_by_an_operator_stops(db: Database, start: Start) -> None:
    node = start("node-a")
    until(lambda: "registered" in node.log)

    db.run("set_state", server_id="node-a", state="draining", actor="test", reason="update")

    assert node.end() == 0
    assert "drained by an operator" in node.log


def test_max_files_and_json(db: Database, start: Start) -> None:
    add_many(db, 5)

    node = start("node-a", "--max-files", "3", "--json")

    assert node.end() == 0
    answer = json.loads(node.said())
    assert (answer["serverId"], answer["completed"], answer["failed"]) == ("node-a", 3, 0)
    assert counts(db) == {"completed": 3, "queued": 2}


@pytest.mark.slow
def test_every_line_of_the_log_carries_the_server_id_and_the_environment(db: Database, start: Start) -> None:
    add_files(db, "raise-1", "kill-1")

    node = start("node-50%", "--drain", act="by_name")

    assert node.end() == 0
    lines = node.log.splitlines()
    assert len(lines) > 5
    assert all("[node-50% development]" in line for line in lines)


def test_a_processor_that_cannot_be_loaded_ends_the_node_with_one_sentence(db: Database, start: Start) -> None:
    node = start("node-a", act="nowhere:at_all")

    assert node.end() == 1
    assert "the processor 'nowhere:at_all' cannot be loaded" in node.log
    assert "Traceback" not in node.log


def test_a_worker_on_tables_that_are_not_migrated_says_the_command(database_url: str, tmp_path: Path) -> None:
    done = python_programs.run(
        [sys.executable, "-m", "opskit.worker"],
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "opskit migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_imports_nothing_heavy(db: Database) -> None:
    code = (
        "import sys, opskit.worker, opskit.worker.child, opskit.processors; "
        "heavy = ('pandas', 'sqlalchemy', 'plotly', 'streamlit', 'fastapi', 'numpy', 'pyarrow'); "
        "print([m for m in heavy if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_processing_one_file_by_hand_races_with_scheduled_nodes_and_is_done_once(db: Database, start: Start) -> None:
    record(db)
    files = add_files(db, *[f"file-{n}" for n in range(4)])
    ask(db, f"UPDATE {db.settings.files} SET processing_queued_at = now() + interval '1 hour'")
    start("node-a", act="effect", ACT_SECONDS="0.3")
    start("node-b", act="effect", ACT_SECONDS="0.3")
    environ = {
        **os.environ,
        **db.settings.environ(),
        "OPSKIT_PROCESSOR": "processors:effect",
        "PYTHONPATH": str(SUPPORT),
    }

    by_hand = python_programs.Program(
        [sys.executable, "-m", "opskit", "process", files[0]],
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    until(lambda: "registered" in str(db.run("events", file_id="", kind="boot", row_limit=5)))
    ask(db, f"UPDATE {db.settings.files} SET processing_queued_at = now()")
    by_hand.communicate(timeout=60)
    until(lambda: counts(db) == {"completed": 4})

    late = python_programs.run(
        [sys.executable, "-m", "opskit", "process", files[0]],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert violations(db) == []
    assert late.returncode == 1
    assert f"file {files[0]} was completed by " in late.stderr


@pytest.mark.slow
@pytest.mark.parametrize("act", ["raise", "kill"])
def test_a_node_that_fails_what_another_completes_goes_into_quarantine_and_comes_back(
    db: Database, start: Start, act: str
) -> None:
    policy = {"OPSKIT_QUARANTINE_AFTER": "3", "OPSKIT_MAX_FAILURES": "100"}
    start("healthy", act="slow", ACT_SECONDS="0.1", **policy)
    sick = start("sick", act="by_name", **policy)

    def told(server_id: str) -> str:
        return str(ask(db, f"SELECT state FROM {db.names['nodes']} WHERE server_id = %s", server_id)[0]["state"])

    def attempts() -> int:
        return len(db.run("events", file_id="", kind="attempt", row_limit=1000))

    def said(words: str) -> bool:
        # There is always some work: who has nothing to fail any more is not judged.
        if ask(db, f"SELECT count(*) AS n FROM {db.settings.files} WHERE processing_status = 'queued'")[0]["n"] < 5:
            add_files(db, *[f"{act}-{n}" for n in range(5)])
        return re.search(words, sick.log) is not None

    # It is judged once a heartbeat: more than the three that suffice may have been completed by then.
    until(lambda: said(r"in quarantine: ([3-9]|\d\d+) files that it failed were then completed by other nodes"), 60)
    assert (told("healthy"), told("sick")) == ("active", "quarantined")
    assert "resting 1 s before the next claim" in sick.log
    until(lambda: in_hand(db, sick) is None)
    add_files(db, *[f"{act}-{n}" for n in range(300)])
    before = attempts()
    assert before < 14, "it rested between its claims"
    beat = ask(db, f"SELECT max(beat_at) AS at FROM {db.names['nodes']} WHERE server_id = 'sick'")[0]["at"]
    until(
        lambda: ask(db, f"SELECT beat_at > %s AS later FROM {db.names['nodes']} WHERE server_id = 'sick'", beat)[0][
            "later"
        ]
    )
    assert attempts() == before

    ask(db, f"UPDATE {db.names['nodes']} SET probe_at = now() WHERE server_id = 'sick'")
    until(lambda: attempts() == before + 1)
    db.run("resume", scope="sick", actor="test", reason="mended")
    until(lambda: attempts() >= before + 3)
    assert told("sick") == "active", "the evidence from before is forgiven"

    ask(db, f"UPDATE {db.names['nodes']} SET state = 'quarantined', probe_at = now() WHERE server_id = 'sick'")
    add_files(db, *[f"good-{n}" for n in range(400)])
    ask(db, f"UPDATE {db.settings.files} SET processing_status = 'failed' WHERE original_filename LIKE '{act}-%' "
            "AND processing_status = 'queued'")  # fmt: skip
    until(lambda: told("sick") == "active")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("act", ["raise", "kill"])
def test_a_node_that_rests_beats_and_stops_at_once(db: Database, start: Start, act: str) -> None:
    add_files(db, *[f"{act}-{n}" for n in range(20)])
    node = start("node-a", act="by_name", OPSKIT_MAX_FAILURES="100")
    until(lambda: "resting 4 s" in node.log)
    beats = [ask(db, f"SELECT beat_at FROM {db.names['nodes']}")[0]["beat_at"]]
    until(lambda: (now := ask(db, f"SELECT beat_at FROM {db.names['nodes']}")[0]["beat_at"]) > beats[0] and now)
    assert len(db.run("events", file_id="", kind="attempt", row_limit=100)) == 7

    asked = time.monotonic()
    node.kill(signal.SIGTERM)

    assert node.end() == 0
    assert time.monotonic() - asked < 3
    assert len(db.run("events", file_id="", kind="attempt", row_limit=100)) == 7


@pytest.mark.slow
def test_a_node_alone_with_bad_files_is_not_quarantined(db: Database, start: Start) -> None:
    add_files(db, *[f"raise-{n}" for n in range(4)])

    node = start("node-a", "--drain", act="by_name", OPSKIT_QUARANTINE_AFTER="2", OPSKIT_MAX_FAILURES="1")

    assert node.end() == 0
    assert counts(db) == {"failed": 4}
    assert "in quarantine" not in node.log
