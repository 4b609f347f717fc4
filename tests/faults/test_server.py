"""The database server dies, restarts, ends connections, refuses new ones, and comes back, while nodes work."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from opskit.database import Database
from opskit.errors import DatabaseUnavailableError
from tests.faults.conftest import Start
from tests.support.cluster import Cluster
from tests.support.nodes import Node, add_many, counts, record
from tests.support.waiting import drained, eventually, prove, reasons, said

SEED = int(os.environ.get("SEED", "11"))
# What a server's troubles may write into the history: no processor is blamed for what it did not do.
OUTAGES = ("the database cannot be reached", "terminating connection", "server closed the connection", "lease")


@pytest.fixture
def work(hurt_db: Database, hurt: Start) -> Callable[[int], list[Node]]:
    """Three nodes at work on so many files."""

    def begin(files: int) -> list[Node]:
        record(hurt_db)
        add_many(hurt_db, files)
        nodes = [hurt(f"node-{n}", act="effect", ACT_SECONDS="0.02") for n in range(3)]
        eventually(lambda: counts(hurt_db).get("completed", 0) >= 10)
        return nodes

    return begin


def ended_well(db: Database, nodes: list[Node], files: int) -> None:
    """All is done once, by the nodes that began, and what went wrong is blamed on what it was."""
    drained(db, files, 60, *nodes)
    prove(db, files)
    assert [node.process.poll() for node in nodes] == [None] * len(nodes)
    for outcome, reason in reasons(db):
        assert outcome in ("raised", "released", "orphaned", "crashed", "interrupted"), reason
        assert outcome == "released" or any(phrase in reason for phrase in OUTAGES), reason


@pytest.mark.slow
def test_killed_backends_cost_no_file(cluster: Cluster, hurt_db: Database, work: Callable[[int], list[Node]]) -> None:
    rng = random.Random(SEED)
    nodes = work(300)

    for _ in range(4):
        # Each kill -9 makes the server end every other backend, too, and recover.
        with contextlib.suppress(psycopg.OperationalError, IndexError, ProcessLookupError):
            os.kill(rng.choice(cluster.backends()), signal.SIGKILL)
        time.sleep(rng.uniform(0.1, 0.6))
        cluster.wait()

    ended_well(hurt_db, nodes, 300)


@pytest.mark.slow
def test_a_killed_server_that_is_started_again_costs_no_file(
    cluster: Cluster, hurt_db: Database, work: Callable[[int], list[Node]]
) -> None:
    nodes = work(200)

    cluster.kill()
    time.sleep(0.5)
    cluster.start()

    ended_well(hurt_db, nodes, 200)


@pytest.mark.slow
def test_an_immediate_restart_of_the_server_costs_no_file(
    cluster: Cluster, hurt_db: Database, work: Callable[[int], list[Node]]
) -> None:
    nodes = work(200)

    cluster.restart_immediately()

    ended_well(hurt_db, nodes, 200)


@pytest.mark.slow
def test_a_storm_of_ended_connections_costs_no_file(
    cluster: Cluster, hurt_db: Database, work: Callable[[int], list[Node]]
) -> None:
    nodes = work(300)

    with cluster.connect() as connection:
        while counts(hurt_db).get("queued", 0) > 20:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'faults' AND random() < 0.3"
            )
            time.sleep(0.05)

    ended_well(hurt_db, nodes, 300)


@pytest.mark.slow
def test_nodes_wait_while_the_server_takes_no_more_connections_and_go_on_by_themselves(
    cluster: Cluster, hurt_db: Database, work: Callable[[int], list[Node]]
) -> None:
    nodes = work(300)

    with contextlib.ExitStack() as crowd:
        operator = crowd.enter_context(cluster.connect())
        # A node that is quicker than the crowd loses its connection once more, until the crowd has each place.
        shut_out = 0
        deadline = time.monotonic() + 60
        while shut_out < 20 and time.monotonic() < deadline:
            ended = operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'opskit%'"
            ).fetchall()
            shut_out = 0 if ended else shut_out + 1
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    crowd.enter_context(cluster.connect())
            time.sleep(0.05)
        before = operator.execute("SELECT count(*) AS n FROM pg_stat_activity WHERE datname = 'faults'").fetchone()

    assert before == {"n": 0}
    ended_well(hurt_db, nodes, 300)
    for node in nodes:
        # It may have slipped in for a moment when the others' places were taken away; otherwise it says it once.
        assert said(node, "going on as soon as it answers") in range(1, 5), node.log
        assert len(node.log.splitlines()) < 25, node.log


@pytest.mark.slow
def test_a_pool_says_at_once_that_its_server_is_gone_and_serves_as_soon_as_it_is_back(
    hurt_db: Database, cluster: Cluster
) -> None:
    """A pool by itself waits for as long as it may, and tries again ever more rarely."""
    with Database(hurt_db.settings, statement_seconds=5) as db:
        assert db.run("pauses") == []
        cluster.kill()
        began = time.monotonic()
        for _ in range(5):
            with pytest.raises(DatabaseUnavailableError):
                db.run("pauses")
        told = time.monotonic() - began
        cluster.start()

        assert db.run("pauses") == []
        assert told < 2.5, "the pool alone takes three seconds each time"
