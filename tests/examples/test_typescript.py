"""The example in TypeScript: a node and a server in another language, beside nodes in Python, through faults."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from opskit.database import Database
from tests.examples.conftest import Program, listens
from tests.support.chromium import free_port
from tests.support.nodes import add_files, add_many, ask, counts, record, running_nodes, until
from tests.support.tables import attempts, row
from tests.support.waiting import prove

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_fleet_of_typescript_and_python_completes_each_file_once_through_kills_and_freezes(
    db: Database, start: Program, tmp_path: Path
) -> None:
    record(db)
    add_many(db, 240)
    with running_nodes(db, tmp_path) as python:
        python("py", act="effect", ACT_SECONDS="0.2")
        killed, frozen, steady = (start("node.js", name=f"ts-{number}") for number in range(3))
        until(lambda: counts(db).get("completed", 0) > 30, 60)

        killed.kill()
        frozen.send_signal(signal.SIGSTOP)
        time.sleep(4)  # its lease of 2 s is over, and others have its file
        start("node.js", name="ts-0")
        frozen.send_signal(signal.SIGCONT)
        ask(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND query LIKE '%%effects%%'")  # fmt: skip

        until(lambda: counts(db) == {"completed": 240}, 90)
    prove(db, 240)
    by = {each["server_id"] for each in ask(db, "SELECT DISTINCT server_id FROM effects")}
    assert {"py", "ts-0", "ts-1", "ts-2"} <= by
    assert steady.poll() is None
    steady.send_signal(signal.SIGTERM)
    assert steady.wait(15) == 0
    assert [each["state"] for each in db.run("nodes") if each["server_id"] == "ts-2"] == ["stopped"]


def test_a_typescript_node_rejects_drains_and_reports_progress(db: Database, start: Program) -> None:
    record(db)
    good, bad = add_files(db, "good", "bad")

    node = start("node.js", "--drain", name="ts-0", WORK_STEPS="10", WORK_STEP_MS="200")
    until(lambda: any(each["progress_total"] == 10 for each in db.run("nodes")))

    assert node.wait(20) == 0
    assert (row(db, good)["processing_status"], row(db, good)["processing_result"]) == ("completed", {"steps": 10})
    (event,) = attempts(db, bad)
    assert (event["outcome"], event["next_status"]) == ("rejected", "failed")


def test_an_express_server_processes_files_for_nodes_that_are_killed(
    db: Database, start: Program, tmp_path: Path
) -> None:
    record(db)
    add_many(db, 100)
    (bad,) = add_files(db, "bad")
    port = free_port()
    start("server.js", PORT=str(port))
    url = f"http://127.0.0.1:{port}/process"
    until(lambda: listens(port))
    with running_nodes(db, tmp_path) as begin:
        nodes = [begin(f"node-{number}", OPSKIT_POST=url, OPSKIT_PROCESSOR="") for number in range(2)]
        until(lambda: counts(db).get("completed", 0) > 20, 60)

        os.kill(nodes[0].own_child(), signal.SIGKILL)
        nodes[1].kill()

        until(lambda: counts(db) == {"completed": 100, "failed": 1}, 60)
    assert attempts(db, bad)[0]["reason"] == "rejected: not a ledger"
    assert ask(db, "SELECT count(*) AS n, count(DISTINCT file_id) AS d FROM effects") == [{"n": 100, "d": 100}]
