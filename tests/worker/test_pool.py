"""A pool of nodes on one machine: started together, started again one by one, drained together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opskit.database import Database
from tests.support import python_programs
from tests.support.nodes import SUPPORT, add_many, ask, counts, until
from tests.support.tables import opskit

Start = Callable[..., "Pool"]


class Pool:
    """One `opskit worker --nodes N`."""

    def __init__(self, db: Database, folder: Path, *flags: str, act: str, **environ: str) -> None:
        self.log_path = folder / "pool.log"
        settings = db.settings.environ() | {"NODE_ID": "box", "OPSKIT_PROCESSOR": act, "PYTHONPATH": str(SUPPORT)}
        with self.log_path.open("wb") as log:
            self.process = python_programs.Program(
                [sys.executable, "-m", "opskit", "worker", *flags],
                env={**os.environ, **settings, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it and its nodes have said so far."""
        return self.log_path.read_text()


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start pools; whatever still lives at the end is killed, its nodes end with it."""
    started: list[Pool] = []

    def begin(*flags: str, act: str = "processors:nothing", **environ: str) -> Pool:
        started.append(Pool(db, tmp_path, *flags, act=act, **environ))
        return started[-1]

    yield begin
    for pool in started:
        pool.process.kill()
        pool.process.communicate()
        until(lambda: not alive(db))


def alive(db: Database) -> dict[str, int]:
    """The nodes that live, and their processes."""
    return {row["server_id"]: row["pid"] for row in db.run("nodes") if row["state"] in ("live", "draining")}


def held(db: Database) -> list[dict[str, Any]]:
    """The files in processing."""
    return ask(db, f"SELECT processing_server_id FROM {db.settings.files} WHERE processing_status = 'processing'")


@pytest.mark.slow
def test_a_pool_drains_the_queue_with_all_its_nodes_and_says_what_each_has_done(db: Database, start: Start) -> None:
    add_many(db, 60)

    pool = start("--nodes", "3", "--drain", "--json", act="processors:slow", ACT_SECONDS="0.1")
    said, _ = pool.process.communicate(timeout=60)

    summary = json.loads(said)
    assert (pool.process.returncode, counts(db)) == (0, {"completed": 60}), pool.log
    assert (summary["completed"], summary["restarts"]) == (60, 0)
    assert [node["serverId"] for node in summary["nodes"]] == ["box-1", "box-2", "box-3"]
    assert all(node["completed"] > 0 for node in summary["nodes"])


def test_a_node_that_dies_is_started_again_under_its_server_id(db: Database, start: Start) -> None:
    pool = start("--nodes", "2")
    before = until(lambda: len(alive(db)) == 2 and alive(db))

    os.kill(before["box-1"], signal.SIGKILL)

    after = until(lambda: alive(db).get("box-1") not in (None, before["box-1"]) and alive(db))
    assert after["box-2"] == before["box-2"]
    assert "node box-1 was killed by signal 9" in pool.log
    add_many(db, 5)
    until(lambda: counts(db) == {"completed": 5})


@pytest.mark.slow
def test_a_pool_that_is_told_to_stop_lets_every_node_finish_its_file(db: Database, start: Start) -> None:
    add_many(db, 10)
    pool = start("--nodes", "2", act="processors:slow", ACT_SECONDS="1")
    until(lambda: len(held(db)) == 2)

    pool.process.send_signal(signal.SIGTERM)

    assert pool.process.wait(20) == 0, pool.log
    assert counts(db) == {"completed": 2, "queued": 8}
    assert {row["state"] for row in db.run("nodes")} == {"stopped"}


@pytest.mark.slow
def test_a_pool_that_is_told_twice_gives_the_files_back(db: Database, start: Start) -> None:
    add_many(db, 2)
    pool = start("--nodes", "2", act="processors:slow", ACT_SECONDS="3600")
    until(lambda: len(held(db)) == 2)

    pool.process.send_signal(signal.SIGTERM)
    until(lambda: pool.log.count("stopping: told by SIGTERM") == 2)
    pool.process.send_signal(signal.SIGTERM)

    assert pool.process.wait(20) == 0, pool.log
    assert counts(db) == {"queued": 2}


@pytest.mark.slow
def test_nodes_finish_their_files_and_end_when_their_pool_is_killed(db: Database, start: Start) -> None:
    add_many(db, 2)
    pool = start("--nodes", "2", act="processors:slow", ACT_SECONDS="1")
    until(lambda: len(held(db)) == 2)

    pool.process.kill()
    pool.process.wait()

    until(lambda: {row["state"] for row in db.run("nodes")} == {"stopped"})
    assert counts(db) == {"completed": 2}


@pytest.mark.slow
def test_a_node_that_an_operator_drains_stays_away_until_the_pool_is_started_again(db: Database, start: Start) -> None:
    pool = start("--nodes", "2")
    until(lambda: len(alive(db)) == 2)

    assert opskit(db.settings, "drain", "box-1").returncode == 0
    until(lambda: list(alive(db)) == ["box-2"])
    assert opskit(db.settings, "drain", "box-2").returncode == 0

    assert pool.process.wait(20) == 0


@pytest.mark.slow
def test_a_pool_whose_processor_cannot_be_loaded_ends_and_says_so(db: Database, start: Start) -> None:
    pool = start("--nodes", "2", act="nosuchmodule:process")

    assert pool.process.wait(30) == 1
    assert "cannot begin" in pool.log
    assert "nosuchmodule" in pool.log


def test_a_pool_without_nodes_is_refused(db: Database) -> None:
    done = opskit(db.settings, "worker", "--nodes", "0")

    assert (done.returncode, "'0' is no number between 1 and 1000" in done.stderr) == (2, True)
