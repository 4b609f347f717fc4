"""The database is away for longer than a lease, again and again, while nodes hold files: it costs time, not files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opskit import migration
from opskit.database import Database
from tests.faults.conftest import Start, settings_for
from tests.support.cluster import Cluster
from tests.support.nodes import Node, add_files, counts, record, running_nodes
from tests.support.waiting import eventually, prove, reasons

LEASE = 1.0


@pytest.fixture
def short(cluster: Cluster, tmp_path: Path) -> Any:
    """A migrated database with a short lease and the usual retry budget."""
    settings = settings_for(cluster.create_database(), tmp_path, lease_seconds=LEASE, max_failures=3)
    with Database(settings) as database:
        migration.migrate(database)
        record(database)
        yield database


@pytest.fixture
def begin(short: Database, tmp_path: Path) -> Any:
    """Start a node on it."""
    with running_nodes(short, tmp_path) as start:
        yield start


def held(db: Database, *nodes: Node) -> bool:
    """Whether each node holds a file."""
    return all(db.run("held", server_id=node.name) for node in nodes)


def away(cluster: Cluster, seconds: float = 2.5 * LEASE) -> None:
    """Stop the server for longer than a lease."""
    cluster.pg_ctl("stop", "-m", "fast", "-w")
    time.sleep(seconds)
    cluster.launch()
    cluster.wait()


@pytest.mark.slow
def test_three_outages_longer_than_a_lease_cost_a_file_in_hand_no_failure(
    cluster: Cluster, short: Database, begin: Start
) -> None:
    ids = add_files(short, "long-1", "long-2")
    nodes = [begin(name, act="slow_effect", ACT_SECONDS="6") for name in ("node-a", "node-b")]

    for _ in range(3):
        eventually(lambda: held(short, *nodes), what="both nodes at work")
        away(cluster)
    eventually(lambda: counts(short) == {"completed": 2}, 40, "both files")

    for id in ids:
        row = short.one("file", id=id)
        assert (row["processing_failures"], row["processing_attempt"]) == (0, 4)
    assert [outcome for outcome, _ in reasons(short)] == ["interrupted"] * 6
    assert all("for a whole lease" in reason for _, reason in reasons(short))
    assert [node.process.poll() for node in nodes] == [None, None]
    prove(short, 2)


@pytest.mark.slow
def test_a_child_that_may_continue_finishes_its_file_through_three_outages_in_one_attempt(
    cluster: Cluster, short: Database, begin: Start
) -> None:
    ids = add_files(short, "long-1", "long-2")
    nodes = [
        begin(name, act="slow_effect", ACT_SECONDS="14", OPSKIT_ON_OUTAGE="continue") for name in ("node-a", "node-b")
    ]
    eventually(lambda: held(short, *nodes), what="both nodes at work")

    for _ in range(3):
        away(cluster)
        time.sleep(0.5)
    eventually(lambda: counts(short) == {"completed": 2}, 40, "both files")

    assert [short.one("file", id=id)["processing_attempt"] for id in ids] == [1, 1]
    assert reasons(short) == []
    assert all("the file in hand goes on" in node.log for node in nodes)
    prove(short, 2)


@pytest.mark.slow
def test_work_that_is_done_while_the_database_is_away_is_kept_by_a_child_that_may_continue(
    cluster: Cluster, short: Database, begin: Start
) -> None:
    (id,) = add_files(short, "long-1")
    node = begin("node-a", act="slow_effect", ACT_SECONDS="1.5", OPSKIT_ON_OUTAGE="continue")
    eventually(lambda: held(short, node), what="the node at work")

    away(cluster, 3 * LEASE)

    eventually(lambda: counts(short) == {"completed": 1}, 20, "the file")
    assert short.one("file", id=id)["processing_attempt"] == 1
    prove(short, 1)


@pytest.mark.slow
def test_a_server_that_goes_away_within_completing_interrupts_the_attempt_and_fails_nothing(
    cluster: Cluster, short: Database, begin: Start
) -> None:
    (id,) = add_files(short, "load-1")
    node = begin("node-a", act="effect_then_wait", ACT_SECONDS="1")

    for _ in range(2):
        eventually(lambda: held(short, node), what="the node at work")
        time.sleep(0.3)
        cluster.restart_immediately()
    eventually(lambda: counts(short) == {"completed": 1}, 20, "the file")

    assert short.one("file", id=id)["processing_failures"] == 0
    assert {outcome for outcome, _ in reasons(short)} == {"interrupted"}
    prove(short, 1)


@pytest.mark.slow
def test_a_file_whose_node_did_not_survive_the_outage_is_taken_by_another(
    cluster: Cluster, short: Database, begin: Callable[..., Node]
) -> None:
    (id,) = add_files(short, "a")
    dead = begin("node-dead", act="slow", ACT_SECONDS="60")
    eventually(lambda: held(short, dead), what="the node at work")
    heir = begin("node-heir", act="slow_effect", ACT_SECONDS="0")
    eventually(lambda: len(short.run("ready_nodes", env="development")) == 2, what="both nodes there")

    cluster.pg_ctl("stop", "-m", "fast", "-w")
    dead.kill()
    dead.end()
    time.sleep(2.5 * LEASE)
    # Before the server is up: the nodes may be back sooner than this test.
    back = time.monotonic()
    cluster.launch()
    cluster.wait()
    eventually(lambda: counts(short) == {"completed": 1}, 20, "the file")

    # Nobody could have beaten before: the dead node has a whole lease to come back.
    assert time.monotonic() - back > LEASE
    assert reasons(short)[0][0] == "orphaned"
    assert heir.process.poll() is None
    assert short.one("file", id=id)["processing_attempt"] == 2
