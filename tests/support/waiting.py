"""What many fault tests do: wait through outages, ask for the history, count what a log says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import psycopg

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from tests.support.nodes import SUPPORT, Node, ask, counts, violations

PROCESSORS = {"PYTHONPATH": str(SUPPORT)}
"""What a node's environment needs to find the processors of `deeds`."""
AWAY = (DatabaseUnavailableError, DatabaseError, psycopg.OperationalError)


def eventually(condition: Callable[[], Any], seconds: float = 60, what: str = "it") -> Any:
    """Wait until something is so, however often the database is away meanwhile."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = answer = condition()
            if answer:
                return answer
        except AWAY as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s; last: {last!r}")


def drained(db: Database, files: int, seconds: float = 60, *nodes: Node) -> None:
    """Wait until all files are completed; if they are not, the nodes' logs say why."""
    try:
        eventually(lambda: counts(db) == {"completed": files}, seconds, f"{files} completed files")
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *(node.log for node in nodes)])) from None


def prove(db: Database, files: int) -> None:
    """The history has no violation, and every file is completed with its one effect."""
    assert violations(db) == []
    assert counts(db) == {"completed": files}
    assert ask(db, "SELECT count(*) AS n, count(DISTINCT file_id) AS d FROM effects") == [{"n": files, "d": files}]


def reasons(db: Database) -> list[tuple[str, str]]:
    """How the attempts ended that did not complete their file: outcome and reason, oldest first."""
    rows = db.run("events", file_id="", kind="attempt", row_limit=100_000)
    return [(row["outcome"], row["reason"]) for row in reversed(rows)]


def said(node: Node, phrase: str) -> int:
    """How many lines of a node's log hold a phrase."""
    return sum(phrase in line for line in node.log.splitlines())


def signal_if_alive(pid: int | None, number: int) -> bool:
    """Send a signal to a process that may have ended meanwhile."""
    if not pid:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def child_of(node: Node) -> int | None:
    """The child's pid; None also when the node itself has ended."""
    try:
        return node.child()
    except (FileNotFoundError, ProcessLookupError):
        return None
