"""What needs a person now: one judgement, the doctor's, for page, shell and the end of `opskit up`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import opskit.web.dashboard
from opskit import doctor, queue
from opskit.cli.main import main as cli
from opskit.database import Database
from opskit.doctor import Finding
from opskit.web.authorization import Caller
from opskit.web.dashboard import permission
from tests.support.dashboard import components_scanned_once  # noqa: F401 -- a fixture
from tests.support.nodes import ask, until
from tests.support.tables import boot, environ, files

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"
PAGE = Path(opskit.web.dashboard.__file__).parent / "frame.py"


@pytest.fixture
def healthy(db: Database) -> Database:
    """A migrated database with a node that claims."""
    boot(db, "node-a", lease_seconds=600.0)
    return db


@pytest.fixture
def overview(db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment in which the page is drawn as a browser on this machine sees it."""
    loopback = Caller.with_headers("127.0.0.1", {"Host": "127.0.0.1:8501", "Origin": "http://127.0.0.1:8501"}, None)
    monkeypatch.setattr(permission, "client", lambda: loopback)
    for name, value in db.settings.environ().items():
        monkeypatch.setenv(name, value)
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


def found(db: Database, check: str) -> list[Finding]:
    """What one check of the doctor finds."""
    return [finding for finding in doctor.examine(db) if finding.check == check]


def failed(db: Database, count: int, error: str, *, minutes_ago: float, server_id: str = "node-a") -> None:
    """Files that have failed with an identity of their own."""
    ask(
        db,
        f"INSERT INTO {TABLE} (original_filename, processing_status, processing_server_id, processing_attempt, "
        "processing_failures, processing_errors, processing_failure, processing_completed_at) "
        "SELECT 'bad-' || n, 'failed', %s, 3, 3, 'Traceback: …', "
        "jsonb_build_object('attempt', 3, 'error', %s::text, 'place', ''), now() - %s * interval '1 minute' "
        "FROM generate_series(1, %s) AS n",
        server_id, error, minutes_ago, count,
    )  # fmt: skip


def queued(db: Database, count: int, *, minutes_ago: float) -> None:
    """Files that have waited so long."""
    ask(
        db,
        f"INSERT INTO {TABLE} (original_filename, processing_status, processing_queued_at) "
        "SELECT 'waits-' || n, 'queued', now() - %s * interval '1 minute' FROM generate_series(1, %s) AS n",
        minutes_ago, count,
    )  # fmt: skip


def completed(db: Database, count: int, *, minutes_ago: float, came_minutes_ago: float) -> None:
    """Files that came and completed some time ago."""
    ask(
        db,
        f"INSERT INTO {TABLE} (original_filename, processing_status, processing_server_id, processing_queued_at, "
        "processing_completed_at) SELECT 'done-' || n, 'completed', 'node-a', now() - %s * interval '1 minute', "
        "now() - %s * interval '1 minute' FROM generate_series(1, %s) AS n",
        came_minutes_ago, minutes_ago, count,
    )  # fmt: skip


# -- failing now -----------------------------------------------------------------------------------


def test_the_doctor_names_the_error_that_files_fail_with_now(healthy: Database) -> None:
    failed(healthy, 11, "KeyError: column … is missing", minutes_ago=5)
    failed(healthy, 1, "ValueError: no number", minutes_ago=6)

    (finding,) = found(healthy, "failing")

    assert finding.level == "warning"
    assert finding.what == (
        "12 files failed in 15 min, 11 of them with KeyError: column … is missing (all on node-a); none in 1 h before"
    )


def test_failures_that_are_as_usual_need_nobody(healthy: Database) -> None:
    failed(healthy, 6, "KeyError: as always", minutes_ago=5)
    failed(healthy, 24, "KeyError: as always", minutes_ago=40)

    assert found(healthy, "failing") == []


def test_failures_of_a_node_without_identities_are_named_by_their_last_line(healthy: Database) -> None:
    failed(healthy, 4, "unused", minutes_ago=1)
    text = 'Traceback:\n  File "work.py", line 3, in process\nOSError: no room'
    ask(healthy, f"UPDATE {TABLE} SET processing_failure = NULL, processing_errors = %s", text)

    (finding,) = found(healthy, "failing")

    assert "4 of them with OSError: no room" in finding.what


# -- the queue -------------------------------------------------------------------------------------


def to_the_minute(text: str) -> str:
    """A duration without its seconds: on a busy machine a test takes some."""
    return re.sub(r"( min) \d+ s\b", r"\1", text)


def test_the_doctor_tells_a_queue_in_which_nothing_moves(healthy: Database) -> None:
    queued(healthy, 3, minutes_ago=25)

    (finding,) = found(healthy, "backlog")

    assert to_the_minute(finding.what) == "the oldest queued file has waited 25 min; nothing ended in 15 min"


def test_the_doctor_tells_a_queue_that_grows(healthy: Database) -> None:
    queued(healthy, 1, minutes_ago=20)
    queued(healthy, 30, minutes_ago=3)
    completed(healthy, 10, minutes_ago=2, came_minutes_ago=30)

    (finding,) = found(healthy, "backlog")

    assert to_the_minute(finding.what) == (
        "the oldest queued file has waited 20 min; the queue grows: 20 more came than ended in 15 min"
    )


def test_a_queue_that_is_worked_off_in_time_needs_nobody(healthy: Database) -> None:
    queued(healthy, 30, minutes_ago=3)
    queued(healthy, 1, minutes_ago=-60)

    assert found(healthy, "backlog") == []


def test_a_file_placed_before_all_time_is_no_long_wait(healthy: Database) -> None:
    ask(healthy, f"INSERT INTO {TABLE} (processing_status, processing_queued_at) VALUES ('queued', '-infinity')")

    assert found(healthy, "backlog") == []


# -- every door --------------------------------------------------------------------------------------

STOPPED = {
    "no node": [f"DELETE FROM {NODES}"],
    "every node dead": [f"UPDATE {NODES} SET lease_until = now() - interval '1 minute'"],
    "every node in quarantine": [f"UPDATE {NODES} SET state = 'quarantined'"],
    "every node draining": [f"UPDATE {NODES} SET state = 'draining'"],
    "everything paused": ["INSERT INTO dev_processing_pauses (scope, actor) VALUES ('*', 'me')"],
    "the only node paused": ["INSERT INTO dev_processing_pauses (scope, actor) VALUES ('node-a', 'me')"],
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("reason", STOPPED)
@pytest.mark.usefixtures("overview")
def test_the_overview_is_never_green_over_a_fleet_that_stands(healthy: Database, reason: str) -> None:
    files(healthy, "one.csv", "two.csv")
    for statement in STOPPED[reason]:
        ask(healthy, statement)

    app = AppTest.from_file(PAGE, default_timeout=90).run()

    assert not app.success
    boxes = "\n".join(element.value for element in (*app.error, *app.warning)).replace("\\", "")
    needs = [finding for finding in doctor.examine(healthy) if finding.check in doctor.WORK]
    assert needs
    for finding in needs:
        # Whatever is told in seconds has grown since.
        assert re.sub(r" for [\d.]+ s$", "", finding.what) in boxes


@pytest.mark.usefixtures("overview")
def test_the_overview_is_green_where_the_doctor_finds_nothing(healthy: Database) -> None:
    files(healthy, "one.csv")

    app = AppTest.from_file(PAGE, default_timeout=90).run()

    assert [element.value for element in app.success] == [
        "Nothing needs you now: 1 of 1 node claims, 0 failed in 24 h."
    ]
    assert cli(["doctor"]) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("overview")
def test_the_overview_is_not_green_where_the_doctor_finds_an_error_of_the_table(healthy: Database) -> None:
    ask(healthy, f"ALTER TABLE {TABLE} SET UNLOGGED")

    app = AppTest.from_file(PAGE, default_timeout=90).run()

    assert not app.success
    assert f"{TABLE} is UNLOGGED".replace("_", r"\_") in app.error[0].value
    assert cli(["doctor"]) == 1


@pytest.mark.usefixtures("overview")
def test_the_overview_counts_the_nodes_that_claim(healthy: Database) -> None:
    boot(healthy, "node-b", lease_seconds=600.0)
    queue.pause(healthy, "node-b", actor="me")

    app = AppTest.from_file(PAGE, default_timeout=90).run()

    (tile,) = [str(element.value) for element in app.metric if element.label == "Nodes claiming"]
    assert tile == "1 of 2"


# -- the end of `opskit up` --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_up_says_at_its_end_what_still_waits_and_why(db: Database, as_json: bool) -> None:
    files(db, "one.csv", "two.csv")
    queue.pause(db, actor="ann", reason="a new disk")
    command = [sys.executable, "-m", "opskit", "up", "--no-dashboard", "--nodes", "1"]
    up = subprocess.Popen(
        [*command, "--json"] if as_json else command,
        env=environ(db.settings, NODE_ID="up"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: ask(db, f"SELECT 1 AS one FROM {NODES} WHERE lease_until > now()"), seconds=60)
    os.kill(up.pid, signal.SIGINT)
    said, _ = up.communicate(timeout=60)

    if as_json:
        summary = json.loads(said)
        assert (summary["queued"], summary["processing"]) == (2, 0)
        assert any("everything is paused" in reason and "a new disk" in reason for reason in summary["reasons"])
    else:
        assert "2 files wait; opskit up goes on with them" in said
        assert "everything is paused" in " ".join(said.split())
