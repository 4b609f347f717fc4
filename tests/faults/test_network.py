"""The network between a node and its database fails, before a statement arrives and after it is committed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.nodes import add_files, add_many, ask, record, running_nodes, status, until, violations
from tests.support.tcp_proxy import Proxy
from tests.support.waiting import PROCESSORS, drained, reasons

FILES = 30
# A phrase that only this statement holds, as a node sends it, and a processor that makes it do so.
PATHS = {
    "claim": ("END AS next_seconds", "effect"),
    "complete_and_claim": ("f.processing_failures AS failures", "nothing"),
    "completing": ("COMMIT", "effect"),
}


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("how", ["drop", "reset", "hole"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("path", PATHS)
def test_a_node_outlives_a_failing_connection_and_does_nothing_twice(
    db: Database, tmp_path: Path, path: str, when: str, how: str
) -> None:
    record(db)
    add_many(db, FILES)
    phrase, act = PATHS[path]

    with Proxy(db.settings.database_url or "") as proxy:
        # Some pass, so that what fails is a prepared statement of a node at work.
        fault = proxy.strike(phrase, when, how, spared=8)
        behind = Database(dataclasses.replace(db.settings, database_url=proxy.url))
        with running_nodes(behind, tmp_path) as start:
            node = start("node-a", act=act, ACT_SECONDS="0.02")
            assert fault.struck.wait(10), node.log
            drained(db, FILES, 20, node)
            assert node.process.poll() is None

    assert violations(db) == []
    assert len(ask(db, "SELECT DISTINCT file_id FROM effects")) == (FILES if act == "effect" else 0)
    # Only a COMMIT that never arrived costs work, and is an interruption; a claim whose answer was lost is given back,
    # or kept.
    lost_work = (path, when) == ("completing", "before")
    ends = [outcome for outcome, _ in reasons(db) if outcome != "released"]
    assert ends == (["interrupted"] if lost_work else []), node.log


@pytest.mark.slow
def test_the_true_reason_is_kept_although_the_connection_breaks_while_it_is_written_down(
    db: Database, tmp_path: Path, start: Start
) -> None:
    record(db)
    (file,) = add_files(db, "a")

    with Proxy(db.settings.database_url or "") as proxy:
        # Its lease outlives all this; its neighbour looks for orphans ten times a second.
        behind = Database(dataclasses.replace(db.settings, database_url=proxy.url, lease_seconds=12.0))
        with running_nodes(behind, tmp_path) as begin:
            node = begin("node-a", act="fault_processors:slow_at_first", ACT_SECONDS="100", **PROCESSORS)
            until(lambda: db.run("held", server_id="node-a") and node.child())
            start("node-b", act="effect", OPSKIT_LEASE_SECONDS="0.3")
            until(lambda: len(db.run("nodes")) == 2)
            fault = proxy.strike("'attempt', $", "before", "drop", times=4)
            os.kill(node.own_child(), signal.SIGKILL)
            assert fault.struck.wait(30), node.log
            drained(db, 1, 30, node)

    assert violations(db) == []
    ((outcome, reason),) = reasons(db)
    assert outcome == "crashed"
    assert "killed by signal 9" in reason
    assert status(db, file) == "completed"
