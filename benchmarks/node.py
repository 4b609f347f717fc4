"""A node at rest and at its start: statements, memory, processor time; its first claim; how heartbeats are written."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import Finding, Size, alone, ask, empty, fill, median_of, nodes, one, until

from opskit.database import Database


def measure(db: Database, size: Size) -> Finding:
    """One idle node, watched; starts of a node before one waiting file; heartbeats of nodes with a short lease."""
    finding = Finding()
    at_rest(db, size, finding)
    start(db, size, finding)
    heartbeats(db, finding)
    return finding


def at_rest(db: Database, size: Size, finding: Finding) -> None:
    empty(db)
    with logged(db) as statements, nodes(db) as (node,):
        time.sleep(5)  # registered, looked once or twice, and at rest
        family = [node.pid, *children(node.pid)]
        before, used, began = statements(), cpu(family), time.monotonic()
        time.sleep(size.seconds)
        took, used = time.monotonic() - began, cpu(family) - used
        asked = (statements() - before) / took
        weights = [pss(pid) for pid in family]
    finding.table.append(
        {
            "node": "at rest",
            "statements a second": round(asked, 2),
            "supervisor [MB PSS]": round(weights[0], 1),
            "child [MB PSS]": round(sum(weights[1:]), 1),
            "CPU [%]": round(100 * used / took, 3),
        }
    )
    finding.goal("idle node: statements", "< 0.5 a second", f"{asked:.2f} a second", asked < 0.5)
    finding.goal("idle node: memory", "< 70 MB PSS, both processes", f"{sum(weights):.0f} MB", sum(weights) < 70)
    finding.goal("idle node: CPU", "< 0.2 %", f"{100 * used / took:.2f} %", used / took < 0.002)


def start(db: Database, size: Size, finding: Finding) -> None:
    def first_claim() -> float:
        empty(db)
        fill(db, 1)
        began = one(db, "SELECT clock_timestamp() AS at")
        with nodes(db):
            until(lambda: one(db, "SELECT processing_started_at FROM dev_uploaded_files"), every=0.01)
        claimed = one(db, "SELECT processing_started_at FROM dev_uploaded_files")
        return float((claimed - began).total_seconds())

    seconds = median_of(max(3, size.rounds), {"start": first_claim})["start"]
    finding.goal("node start to first claim", "< 1 s", f"{seconds:.2f} s", seconds < 1)


def heartbeats(db: Database, finding: Finding) -> None:
    """A lease of a second is renewed three times a second: what else takes minutes is seen in seconds."""
    empty(db)
    counts = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'dev_processing_nodes'"
    (before,) = ask(db, counts)
    with nodes(db, 4, OPSKIT_LEASE_SECONDS="1"):
        time.sleep(15)
    time.sleep(1.5)
    (after,) = ask(db, counts)
    beats = after["n_tup_upd"] - before["n_tup_upd"]
    share = (after["n_tup_hot_upd"] - before["n_tup_hot_upd"]) / max(beats, 1)
    finding.goal("heartbeats: HOT", "≥ 95 %", f"{100 * share:.1f} % of {beats} updates", share >= 0.95, share)


@contextlib.contextmanager
def logged(db: Database) -> Iterator[Callable[[], int]]:
    """Have the server log each statement with its sender's name; how many were the nodes' so far.

    Its counter of commits counts autovacuum's as well, a hundred at a visit.
    """
    (log,) = db.settings.home_path.glob("pg*/server.log")
    begins = log.stat().st_size
    try:
        ask(db, "ALTER SYSTEM SET log_statement = 'all'")
        ask(db, "ALTER SYSTEM SET log_line_prefix = '%a: '")
        ask(db, "SELECT pg_reload_conf()")
        yield lambda: len(re.findall(rb"(?m)^opskit [^:]*: LOG:  (?:execute|statement)", log.read_bytes()[begins:]))
    finally:
        ask(db, "ALTER SYSTEM RESET log_statement")
        ask(db, "ALTER SYSTEM RESET log_line_prefix")
        ask(db, "SELECT pg_reload_conf()")


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def pss(pid: int) -> float:
    """Memory that a process holds, what it shares counted in part [MB]."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no Pss in smaps_rollup")


def cpu(pids: list[int]) -> float:
    """Processor time used so far [s]; the scheduler's own count, finer than clock ticks."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids) / 1e9


if __name__ == "__main__":
    assert os.name == "posix"
    alone("node", measure, __doc__)
