"""What a processor leaves behind in its process costs its file at most: the next one runs as in a new process."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support import leavings
from tests.support.nodes import Node, record, running_nodes, status, until, violations
from tests.support.tables import attempts, files, row

Start = Callable[..., Node]


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


@pytest.mark.slow
@pytest.mark.parametrize("group", range(5))
def test_the_next_file_finds_its_process_as_if_nothing_had_been_left_behind(
    db: Database, start: Start, group: int
) -> None:
    record(db)
    left = list(leavings.LEAVE)[group::5]
    names = ["look", *(name for what in left for name in (what, "look"))]
    ids = files(db, *names)

    node = start("node-a", "--drain", act="leavings:leave")

    assert node.end(90) == 0, node.log
    ended = {name: status(db, id) for name, id in zip(names, ids, strict=True)}
    assert set(ended.values()) == {"completed"}, (ended, node.log)
    looks = [row(db, id)["processing_result"] for name, id in zip(names, ids, strict=True) if name == "look"]
    pids = [look.pop("pid") for look in looks]
    for what, look in zip(left, looks[1:], strict=True):
        assert look == looks[0], what
    assert len(set(pids)) == len(pids), node.log
    replaced = [line for line in node.log.splitlines() if "its process is replaced" in line]
    assert [line.partition("(")[2].partition(")")[0] for line in replaced] == left, replaced
    assert all(attempts(db, id) == [] for id in ids)
    assert violations(db) == []
    assert f"done: {len(ids)} completed, 0 failed, 0 to be tried again" in node.log


@pytest.mark.slow
def test_a_file_that_fails_leaves_its_process_no_better(db: Database, start: Start) -> None:
    names = [f"{what} raise" for what in ("disable", "close-stderr", "chdir", "thread", "subprocess", "socket")]
    ids = files(db, *(name for one in names for name in (one, "look")))

    node = start("node-a", "--drain", act="leavings:leave")

    assert node.end() == 0, node.log
    assert [status(db, id) for id in ids] == ["failed", "completed"] * len(names)
    assert len({row(db, id)["processing_result"]["pid"] for id in ids[1::2]}) == len(names)
    # Whatever is done to logging and to sys.stderr, the node's own log is written.
    assert node.log.count("rejected: as told; now failed") == len(names)


def test_a_process_in_which_nothing_is_off_goes_on(db: Database, start: Start) -> None:
    ids = files(db, *"abcdefgh")

    node = start("node-a", "--drain", act="leavings:clean")

    assert node.end() == 0
    assert len({row(db, id)["processing_result"]["pid"] for id in ids}) == 1, node.log


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("flags", [("--max-files", "2"), ("--drain",)])
def test_a_process_with_a_thread_left_ends_when_its_node_is_done(
    db: Database, start: Start, flags: tuple[str, ...]
) -> None:
    files(db, "thread", "thread")

    node = start("node-a", *flags, act="leavings:leave")

    assert node.end() == 0
    assert "2 completed, 0 failed" in node.log


@pytest.mark.slow
def test_what_a_processor_has_started_ends_with_its_process(db: Database, start: Start) -> None:
    files(db, "subprocess", "look")

    node = start("node-a", act="leavings:leave")
    until(lambda: "its process is replaced" in node.log)

    pid = int(node.log.partition("a running process (")[2].partition(")")[0])
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z (" in Path(f"/proc/{pid}/status").read_text())


@pytest.mark.slow
def test_a_node_whose_process_is_replaced_while_it_stops_ends(db: Database, start: Start) -> None:
    first, second = files(db, "sigterm", "look")
    node = start("node-a", act="leavings:leave_slowly")
    until(lambda: db.run("held", server_id="node-a"))

    node.kill(signal.SIGTERM)

    assert node.end() == 0
    assert (status(db, first), status(db, second)) == ("completed", "queued")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["exit", "leave", "kill", "segfault"])
def test_a_processor_that_ends_its_process_costs_its_file_at_most(db: Database, start: Start, name: str) -> None:
    bad, good = files(db, f"{name}-file", "good")

    node = start("node-a", "--drain", act="processors:by_name")

    assert node.end() == 0
    assert (status(db, bad), status(db, good)) == ("failed", "completed")
    assert len(attempts(db, bad)) == 3
