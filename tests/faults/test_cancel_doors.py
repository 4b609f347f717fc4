"""A running file is cancelled through page, shell and API, on a real node: directly, behind PgBouncer, frozen.

The database's clock tells how long it took: from the cancel in the history to the end of file and processor.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.api import served
from tests.support.dashboard import Open, click, open_page, said
from tests.support.dripping import dripping
from tests.support.nodes import Node, add_files, ask, record, status, until, violations
from tests.support.pooler import PGBOUNCER, Pooler, pooler
from tests.support.tables import attempts, opskit

__all__ = ["open_page", "pooler"]

pytestmark = pytest.mark.slow
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")

HOUR = "3600"
SLOW_BEAT = {"OPSKIT_LEASE_SECONDS": "60"}
"""No heartbeat helps within a test: it takes a notification."""
BEAT_SECONDS = 1.0
SHORT_BEAT = {"OPSKIT_LEASE_SECONDS": str(3 * BEAT_SECONDS)}
LOAD = "opskit.processors:load_table"

Cancel = Callable[[Database, str], None]


@pytest.fixture(params=["page", "shell", "api"])
def cancel(request: pytest.FixtureRequest, open_page: Open) -> Cancel:
    """Cancel a file through one of the doors."""

    def by_page(db: Database, id: str) -> None:
        st.cache_resource.clear()
        app = open_page("file.py", **db.settings.environ())
        app.query_params["id"] = id
        app.run()
        click(click(app, "cancel_one"), "confirm_button")
        assert "Cancelled 1 file" in said(app) or "killed the processor" in said(app), said(app)

    def by_shell(db: Database, id: str) -> None:
        done = opskit(db.settings, "cancel", id, "--reason", "wrong customer")
        assert done.returncode == 0, done.stderr

    def by_api(db: Database, id: str) -> None:
        answer = served(db, db.settings).post("/api/processing/cancel", json={"ids": [id]})
        assert answer.status_code == 200, answer.text

    ways: dict[str, Cancel] = {"page": by_page, "shell": by_shell, "api": by_api}
    return ways[request.param]


def is_copying(db: Database) -> bool:
    return bool(ask(db, "SELECT 1 FROM pg_stat_progress_copy"))


def in_hand(db: Database, id: str) -> None:
    """Wait until a node has had a file in hand for so long that its supervisor listens."""
    old = "processing_status = 'processing' AND processing_started_at < clock_timestamp() - interval '1.5 seconds'"
    until(lambda: ask(db, f"SELECT 1 FROM {db.settings.files} WHERE id = %s AND {old}", id))


def killed_at(db: Database, node: Node, child: int) -> datetime:
    """When a node's child is gone, by the database's clock."""
    until(lambda: node.child() != child)
    (now,) = ask(db, "SELECT clock_timestamp() AS now")
    when: datetime = now["now"]
    return when


def cancelled_at(db: Database, id: str) -> datetime:
    """When the history says that it was first asked for."""
    (event,) = ask(db, f"SELECT min(at) AS at FROM {db.names['events']} WHERE file_id = %s AND kind = 'cancel'", id)
    at: datetime = event["at"]
    return at


def ended_at(db: Database, id: str) -> datetime:
    """When its row says that the file failed."""
    until(lambda: status(db, id) == "failed")
    (row,) = ask(db, f"SELECT processing_completed_at AS at FROM {db.settings.files} WHERE id = %s", id)
    at: datetime = row["at"]
    return at


def outcomes(db: Database, id: str) -> list[Any]:
    return [attempt["outcome"] for attempt in attempts(db, id)]


def loaded(db: Database) -> bool:
    return ask(db, "SELECT to_regclass('dev_loaded_sales') IS NOT NULL AS there") == [{"there": True}]


def seconds(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds()


def test_a_running_file_and_its_processor_end_within_a_second_of_the_cancel(
    db: Database, start: Start, cancel: Cancel
) -> None:
    record(db)
    (id,) = add_files(db, "a")
    node = start("node-a", act="slow_effect", ACT_SECONDS=HOUR, **SLOW_BEAT)
    in_hand(db, id)
    child = node.own_child()

    with ThreadPoolExecutor(1) as watcher:
        killed = watcher.submit(killed_at, db, node, child)
        cancel(db, id)
        asked = cancelled_at(db, id)

        assert seconds(asked, ended_at(db, id)) < 1.0
        assert seconds(asked, killed.result()) < 1.0
    assert outcomes(db, id) == ["cancelled"]
    assert ask(db, "SELECT * FROM effects") == []


def test_a_load_in_the_middle_of_its_copy_ends_within_a_second_of_the_cancel_and_loads_nothing(
    db: Database, start: Start, cancel: Cancel, tmp_path: Path
) -> None:
    with dripping(db, tmp_path) as id:
        start("node-a", act=LOAD, **SLOW_BEAT)
        in_hand(db, id)
        until(lambda: is_copying(db))

        cancel(db, id)

        assert seconds(cancelled_at(db, id), ended_at(db, id)) < 1.0
    assert outcomes(db, id) == ["cancelled"]
    assert not loaded(db)


@needs_pgbouncer
def test_behind_pgbouncer_a_running_file_and_its_processor_end_within_a_beat_of_the_cancel(
    db: Database, start: Start, cancel: Cancel, pooler: Pooler
) -> None:
    record(db)
    (id,) = add_files(db, "a")
    behind = dataclasses.replace(db.settings, database_url=pooler.url)
    node = start("node-a", act="slow_effect", ACT_SECONDS=HOUR, DATABASE_URL=pooler.url, **SHORT_BEAT)
    in_hand(db, id)
    child = node.own_child()

    with ThreadPoolExecutor(1) as watcher, Database(behind) as through:
        killed = watcher.submit(killed_at, db, node, child)
        cancel(through, id)
        asked = cancelled_at(db, id)

        assert seconds(asked, ended_at(db, id)) < 1.0
        assert seconds(asked, killed.result()) < BEAT_SECONDS + 1.0
    assert outcomes(db, id) == ["cancelled"]
    assert ask(db, "SELECT * FROM effects") == []


@needs_pgbouncer
def test_behind_pgbouncer_a_load_in_the_middle_of_its_copy_ends_within_a_beat_of_the_cancel(
    db: Database, start: Start, cancel: Cancel, pooler: Pooler, tmp_path: Path
) -> None:
    behind = dataclasses.replace(db.settings, database_url=pooler.url)
    with dripping(db, tmp_path) as id, Database(behind) as through:
        start("node-a", act=LOAD, DATABASE_URL=pooler.url, **SHORT_BEAT)
        in_hand(db, id)
        until(lambda: is_copying(db))

        cancel(through, id)

        assert seconds(cancelled_at(db, id), ended_at(db, id)) < BEAT_SECONDS + 1.0
    assert outcomes(db, id) == ["cancelled"]
    assert not loaded(db)


def test_the_late_write_of_a_cancelled_file_s_processor_is_refused_while_its_supervisor_is_frozen(
    db: Database, start: Start, cancel: Cancel
) -> None:
    record(db)
    (id,) = add_files(db, "a")
    node = start("node-a", act="effect", ACT_SECONDS="5", **SLOW_BEAT)
    until(lambda: db.run("held", server_id="node-a"))
    os.kill(node.process.pid, signal.SIGSTOP)

    cancel(db, id)

    assert seconds(cancelled_at(db, id), ended_at(db, id)) < 1.0
    until(lambda: "is lost" in node.log)
    assert outcomes(db, id) == ["cancelled"]
    assert ask(db, "SELECT * FROM effects") == []
    assert violations(db) == []


def test_a_file_that_a_frozen_node_has_locked_ends_as_cancelled_once_its_lease_is_over(
    db: Database, start: Start, cancel: Cancel
) -> None:
    record(db)
    (id,) = add_files(db, "a")
    node = start("node-a", act="effect_then_wait", ACT_SECONDS="2", **SHORT_BEAT)
    until(lambda: ask(db, "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'"))
    child = node.own_child()
    for pid in (node.process.pid, child):
        os.kill(pid, signal.SIGSTOP)

    cancel(db, id)
    start("node-b", act="effect", **SHORT_BEAT)
    ended = ended_at(db, id)
    for pid in (child, node.process.pid):
        os.kill(pid, signal.SIGCONT)
    (later,) = add_files(db, "b")

    until(lambda: status(db, later) == "completed")
    assert seconds(cancelled_at(db, id), ended) < 10 * BEAT_SECONDS
    assert outcomes(db, id) == ["cancelled"]
    assert ask(db, "SELECT file_id FROM effects") == [{"file_id": later}]
    assert violations(db) == []
