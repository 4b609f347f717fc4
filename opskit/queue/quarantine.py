"""Quarantine: a node whose attempts fail rests, is judged by what other nodes completed, and returns by itself.

The child rests between claims while its attempts end badly in a row. The supervisor judges at its heartbeats, as long
as that lasts, and ends the quarantine when a probe has gone well. The rules are in the SQL files.
"""

from __future__ import annotations

import logging

from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.queue.server_id import Boot

log = logging.getLogger("opskit")
_MOST_EVIDENCE = 100
_LOCK_NOT_AVAILABLE = "55P03"


def judge(db: Database, node: Boot, streak: int) -> str | None:
    """Judge a node whose last attempts ended badly; evidence is what others completed, never its failures alone.

    Args:
        db: An open database.
        node: The node.
        streak: How many of its attempts in a row ended badly, until now.

    Returns:
        Why it is in quarantine now; None when it is not.

    Raises:
        DatabaseUnavailableError: No answer.

    SQL: sql/bad_attempts.sql, sql/quarantine.sql
    """
    after = db.settings.quarantine_after
    if not after or streak < after:
        return None
    charge = db.one("bad_attempts", server_id=node.server_id, row_limit=min(streak, _MOST_EVIDENCE))
    if len(charge["ids"]) < after:
        return None
    rows = []
    try:
        rows = db.run(
            "quarantine",
            server_id=node.server_id,
            boot=node.boot,
            ids=charge["ids"],
            since=charge["since"].isoformat(),
            again=charge["again"].isoformat(),
            after=after,
        )
    except DatabaseError as error:
        # Somebody has a node's row locked for longer than a moment: the next heartbeat judges.
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
    return rows[0]["reason"] if rows else None
