"""SIGHUP, which a closed terminal sends, drains as SIGTERM does; where nohup has it ignored, nothing happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support import python_programs
from tests.support.chromium import free_port
from tests.support.nodes import SUPPORT, Node, running_nodes, status, until
from tests.support.tables import environ, files

Start = Callable[..., Node]


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


def holds(db: Database, node: Node) -> bool:
    return bool(db.run("held", server_id=node.name))


def answers(port: int) -> bool:
    """Whether the page serves."""
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).status == 200)
    return False


def test_a_hangup_lets_a_node_finish_its_file_however_often_it_comes(db: Database, start: Start) -> None:
    first, second = files(db, "a", "b")
    node = start("node-a", act="slow", ACT_SECONDS="1")
    until(lambda: holds(db, node))

    for _ in range(3):
        node.kill(signal.SIGHUP)
        time.sleep(0.05)
    os.kill(node.own_child(), signal.SIGHUP)

    assert node.end() == 0
    assert "stopping: told by SIGHUP" in node.log
    assert (status(db, first), status(db, second)) == ("completed", "queued")
    assert db.run("nodes")[0]["state"] == "stopped"


@pytest.mark.slow
def test_a_node_under_nohup_goes_on_after_a_hangup(db: Database, start: Start) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        node = start("node-a", act="slow", ACT_SECONDS="0.1")
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    until(lambda: "registered" in node.log and node.child())

    node.kill(signal.SIGHUP)
    os.kill(node.own_child(), signal.SIGHUP)

    (id,) = files(db, "a")
    until(lambda: status(db, id) == "completed")
    assert "stopping" not in node.log


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("ignored", [False, True], ids=["hangup", "nohup"])
def test_a_hangup_drains_up_unless_it_is_ignored(db: Database, tmp_path: Path, ignored: bool) -> None:
    (id,) = files(db, "a")
    with (tmp_path / "log").open("wb") as log:
        up = python_programs.Program(
            [sys.executable, "-m", "opskit", "up", "--nodes", "1", "--no-dashboard", "--json"],
            env=environ(db.settings, PYTHONPATH=str(SUPPORT), ACT_SECONDS="0.5", OPSKIT_PROCESSOR="processors:slow"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if ignored else None,
        )  # fmt: skip
    try:
        until(lambda: status(db, id) == "processing")
        up.send_signal(signal.SIGHUP)
        if ignored:
            until(lambda: status(db, id) == "completed")
            assert up.poll() is None
            up.send_signal(signal.SIGTERM)
        said, _ = up.communicate(timeout=60)
    finally:
        up.kill()
        up.wait()

    assert up.returncode == 0, (tmp_path / "log").read_text()
    assert json.loads(said)["completed"] == 1
    assert status(db, id) == "completed"


@pytest.mark.slow
def test_a_hangup_ends_the_page_as_sigterm_does(db: Database, tmp_path: Path) -> None:
    log_path, port = tmp_path / "log", free_port()
    with log_path.open("wb") as log:
        page = subprocess.Popen(
            [sys.executable, "-m", "opskit", "dashboard", "--port", str(port)],
            env=environ(db.settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: answers(port), 60)
        page.send_signal(signal.SIGHUP)
        code = page.wait(30)
    finally:
        page.kill()
        page.wait()

    assert code in (0, -signal.SIGTERM), log_path.read_text()
