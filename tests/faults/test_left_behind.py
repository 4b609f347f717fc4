"""A file whose row is locked by what a dead node has left behind: it is freed, and taken by others."""

from __future__ import annotations

import os
import signal

import pytest

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.nodes import add_files, ask, record, until, violations
from tests.support.waiting import PROCESSORS, child_of, drained, prove, reasons

LONG = {"ACT_SECONDS": "100", **PROCESSORS}
IN_TRANSACTION = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND {} AND pid <> pg_backend_pid()"


def test_a_killed_child_frees_its_file_although_the_server_is_busy_with_its_statement(
    db: Database, start: Start
) -> None:
    record(db)
    add_files(db, "a")
    node = start("node-a", act="fault_processors:asking_at_first", **LONG)
    until(lambda: ask(db, IN_TRANSACTION.format("query LIKE 'SELECT pg_sleep%' AND state = 'active'")))

    os.kill(until(lambda: child_of(node)), signal.SIGKILL)

    drained(db, 1, 40, node)
    prove(db, 1)
    assert [outcome for outcome, _ in reasons(db)] == ["crashed"]


@pytest.mark.slow
def test_a_crashed_child_takes_along_what_its_processor_has_forked(db: Database, start: Start) -> None:
    record(db)
    add_files(db, "a")

    node = start("node-a", act="fault_processors:forking_at_first", **LONG)

    drained(db, 1, 40, node)
    prove(db, 1)
    ((outcome, reason),) = reasons(db)
    assert outcome == "crashed"
    assert "SIGSEGV" in reason


@pytest.mark.slow
@pytest.mark.parametrize("heir", ["node-b", "node-a"])
def test_a_node_frozen_within_its_transaction_loses_its_file_to_others_and_to_its_own_next_boot(
    db: Database, start: Start, heir: str
) -> None:
    record(db)
    add_files(db, "a", "b")
    node = start("node-a", act="fault_processors:holding_at_first", **LONG)
    until(lambda: ask(db, IN_TRANSACTION.format("state = 'idle in transaction'")))
    for pid in (node.process.pid, until(lambda: child_of(node))):
        os.kill(pid, signal.SIGSTOP)

    # The second file is taken by nobody before the first is free: one server ID holds one file.
    start(heir, act="fault_processors:slow_at_first", ACT_SECONDS="0", **PROCESSORS)

    drained(db, 2, 60)
    prove(db, 2)
    assert [outcome for outcome, _ in reasons(db)] == ["orphaned"]
    assert violations(db) == []
    assert {row["server_id"] for row in ask(db, "SELECT server_id FROM effects")} == {heir}
