"""The database cannot be reached when a node starts, or for longer than a lease, or takes no writes for a while."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.cluster import Cluster
from tests.support.nodes import Node, add_files, add_many, ask, counts, record, running_nodes, status, until, violations
from tests.support.tcp_proxy import Proxy
from tests.support.waiting import drained, eventually, prove, reasons, said


@pytest.fixture
def proxy(db: Database) -> Iterator[Proxy]:
    """A proxy before the database, that can be cut and mended."""
    with Proxy(db.settings.database_url or "") as running:
        yield running


@pytest.fixture
def behind(db: Database, proxy: Proxy, tmp_path: Path) -> Iterator[Start]:
    """Start a node that reaches the database through the proxy."""
    with running_nodes(Database(dataclasses.replace(db.settings, database_url=proxy.url)), tmp_path) as begin:
        yield begin


def in_hand(db: Database, name: str) -> str | None:
    """The file that a node holds."""
    rows = db.run("held", server_id=name)
    return rows[0]["id"] if rows else None


def lines(node: Node) -> list[str]:
    """What it said, without time and name."""
    return [line.split("] ", 1)[1] for line in node.log.splitlines()]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("how", ["drop", "hole"])
def test_a_node_that_finds_no_database_at_its_start_says_so_once_and_begins_when_there_is_one(
    db: Database, proxy: Proxy, behind: Start, how: str
) -> None:
    record(db)
    add_many(db, 5)
    proxy.cut(how)

    node = behind("node-a", act="effect")
    until(lambda: "the database cannot be reached" in node.log)
    time.sleep(1.5)
    proxy.mend()

    drained(db, 5, 30, node)
    prove(db, 5)
    said_so = lines(node)
    assert len(said_so) == 3, node.log
    assert said_so[0].endswith("going on as soon as it answers")
    assert said_so[1:] == ["the database answers again", "registered, epoch 1"] or said_so[1:] == [
        "registered, epoch 1",
        "the database answers again",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["drop", "hole"])
def test_a_node_cut_off_for_longer_than_its_lease_stops_its_child_and_goes_on_afterwards(
    db: Database, proxy: Proxy, behind: Start, start: Start, how: str
) -> None:
    record(db)
    (file,) = add_files(db, "a")
    node = behind("node-a", act="effect", ACT_SECONDS="60")
    until(lambda: in_hand(db, "node-a") == file)
    child = node.child()

    proxy.cut(how)
    cut = time.monotonic()
    until(lambda: node.child() != child)

    # It did not stop before its lease could be over, nor long after.
    assert db.settings.lease_seconds * 0.6 < time.monotonic() - cut < db.settings.lease_seconds * 5
    heir = start("node-b", act="effect")
    until(lambda: status(db, file) == "completed")
    proxy.mend()
    until(lambda: "the database answers again" in node.log)
    heir.kill(signal.SIGTERM)
    heir.end()
    add_many(db, 1)

    assert ask(db, "SELECT server_id FROM effects") == [{"server_id": "node-b"}]
    until(lambda: in_hand(db, "node-a"))
    assert said(node, "stopping the child: the node could not reach the database for a whole lease") == 1
    assert said(node, "going on as soon as it answers") == 1
    assert said(node, "the database answers again") == 1
    assert len(lines(node)) < 10, node.log
    assert [outcome for outcome, _ in reasons(db)] == ["orphaned"]
    assert violations(db) == []


@pytest.mark.slow
def test_nodes_wait_while_the_database_takes_no_writes(cluster: Cluster, hurt_db: Database, hurt: Start) -> None:
    record(hurt_db)
    add_many(hurt_db, 150)
    nodes = [hurt(f"node-{n}", act="effect", ACT_SECONDS="0.02") for n in range(2)]
    eventually(lambda: counts(hurt_db).get("completed", 0) >= 10)

    cluster.ask("ALTER DATABASE faults SET default_transaction_read_only = on")
    # Sessions take the new default when they begin.
    cluster.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'faults'")
    eventually(lambda: all("read-only transaction" in node.log for node in nodes))
    before = eventually(lambda: counts(hurt_db))
    time.sleep(1)
    assert counts(hurt_db) == before
    cluster.ask("ALTER DATABASE faults SET default_transaction_read_only = off")
    cluster.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'faults'")

    drained(hurt_db, 150, 30, *nodes)
    prove(hurt_db, 150)
    for node in nodes:
        assert len(lines(node)) < 20, node.log
