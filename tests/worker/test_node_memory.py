"""A node says with each heartbeat how much memory its processes take."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from opskit import stats
from opskit.database import Database
from opskit.queue import nodes
from opskit.worker import node_memory
from tests.support.node_steps import Start
from tests.support.nodes import until

LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say")
HOLD = "import sys; held = b'x' * 80_000_000; print('ready', flush=True); sys.stdin.read()"


@LINUX
def test_the_memory_of_a_node_is_that_of_all_its_processes() -> None:
    before = node_memory.in_use()
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        during = node_memory.in_use()
        assert child.stdin is not None
        child.stdin.close()

    assert before is not None
    assert during is not None
    assert during - before > 80_000_000


@LINUX
def test_files_that_processes_share_count_once_and_a_process_that_has_ended_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(node_memory, "PROC", tmp_path)
    family = {os.getpid(): ("900 500 300 1 0 90 0", "7 8 9"), 7: ("900 450 200 1 0 90 0", ""), 8: ("0", "")}
    for pid, (statm, children) in family.items():
        (tmp_path / f"{pid}/task/{pid}").mkdir(parents=True)
        (tmp_path / f"{pid}/statm").write_text(statm)
        (tmp_path / f"{pid}/task/{pid}/children").write_text(children)

    assert node_memory.in_use() == (200 + 250 + 300) * os.sysconf("SC_PAGE_SIZE")


def test_a_system_without_proc_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node_memory, "PROC", tmp_path)

    assert node_memory.in_use() is None


def test_a_processor_that_starts_thousands_delays_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(node_memory, "_pages", lambda pid: asked.append(pid) or (1, 0))
    monkeypatch.setattr(node_memory, "_children", lambda pid: [pid + 1, pid + 2])

    node_memory.in_use()

    assert len(asked) == node_memory.MOST_PROCESSES
    assert asked[0] == os.getpid()


def test_a_heartbeat_tells_the_memory_and_a_new_boot_forgets_it(db: Database) -> None:
    boot = nodes.register(db, "node-1", str(uuid.uuid4()))
    assert boot is not None

    nodes.heartbeat(db, boot, memory_bytes=48_000_000)
    (told,) = stats.records(stats.nodes(db))
    nodes.heartbeat(db, boot)
    (silent,) = stats.records(stats.nodes(db))

    assert told["memory_bytes"] == 48_000_000
    assert silent["memory_bytes"] is None
    nodes.heartbeat(db, boot, memory_bytes=1)
    nodes.deregister(db, boot, "over")
    assert nodes.register(db, "node-1", str(uuid.uuid4())) is not None
    assert stats.records(stats.nodes(db))[0]["memory_bytes"] is None


@LINUX
@pytest.mark.slow
def test_a_node_that_runs_shows_its_memory(db: Database, start: Start) -> None:
    start("node-1")

    until(lambda: [row["memory_bytes"] or 0 for row in db.run("nodes")] > [10_000_000])
