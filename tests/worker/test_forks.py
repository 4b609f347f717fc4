"""What a processor forks is no node: it ends when it is told to, and claims, completes and beats nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support.nodes import Node, ask, counts, record, running_nodes, violations
from tests.support.tables import attempts, files, row

Start = Callable[..., Node]


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("act", ["pool", "executor"])
def test_pools_of_every_start_method_end_with_their_files(db: Database, start: Start, act: str) -> None:
    ids = files(db, *(f"{method}-{n}" for n in range(2) for method in ("fork", "spawn", "forkserver")))
    ids += files(db, *(f"fork-{n}" for n in range(2, 8)))

    # Sixteen interpreters are started: on a busy machine a heartbeat may be late by more than the tests' short lease.
    node = start("node-a", "--drain", act=f"leavings:{act}", OPSKIT_LEASE_SECONDS="60")

    assert node.end(300) == 0
    assert counts(db) == {"completed": 12}, node.log
    assert all(row(db, id)["processing_result"] == {"squares": [0, 1, 4, 9, 16]} for id in ids)


FORK = """
import os, signal, time
from opskit.worker.forks import disarm
read, write = os.pipe()
# The hooks of a copy run in the order in which they were registered: here it is one no longer, and not yet the other.
os.register_at_fork(after_in_child=lambda: (os.write(write, b"x"), time.sleep(0.5)))
signal.signal(signal.SIGTERM, lambda *_: None)
disarm()
copy = os.fork()
if copy == 0:
    time.sleep(30)
    os._exit(0)
os.read(read, 1)
os.kill(copy, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


def test_a_copy_that_is_told_to_end_while_it_is_being_forked_ends() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "-15 0\n"


def test_a_forked_process_handles_signals_as_by_default(db: Database, start: Start) -> None:
    (id,) = files(db, "a")

    assert start("node-a", "--drain", act="leavings:signals_of_a_fork").end() == 0

    assert row(db, id)["processing_result"] == {"signals": [0, 0, -1]}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(("act", "code"), [("fork_that_returns", 0), ("fork_that_raises", 1)])
def test_a_forked_copy_that_comes_back_into_the_loop_ends_there(
    db: Database, start: Start, act: str, code: int
) -> None:
    record(db)
    ids = files(db, "a", "b", "c")

    node = start("node-a", "--drain", act=f"leavings:{act}")

    assert node.end() == 0
    assert [row(db, id)["processing_result"] for id in ids] == [{"code": code}] * 3, node.log
    assert violations(db) == []
    assert "done: 3 completed, 0 failed, 0 to be tried again" in node.log


def test_a_forked_copy_commits_nothing_of_a_block(db: Database, start: Start) -> None:
    record(db)
    ids = files(db, "a", "b")

    node = start("node-a", "--drain", act="leavings:fork_within_completing")

    assert node.end() == 0
    assert counts(db) == {"completed": 2}, node.log
    assert [effect["file_id"] for effect in ask(db, "SELECT file_id FROM effects ORDER BY 1")] == ids
    assert violations(db) == []
    assert attempts(db, ids[0]) == []


@pytest.mark.slow
def test_a_forked_process_may_say_that_its_file_moves(db: Database, start: Start) -> None:
    (id,) = files(db, "a")

    assert start("node-a", "--drain", act="leavings:progress_of_a_fork").end() == 0

    assert row(db, id)["processing_result"] == {"done": 3, "total": 4}
