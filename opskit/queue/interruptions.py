"""Interruptions: an attempt that a database outage has ended does not count as a failure of its file."""

from __future__ import annotations

import psycopg

from opskit.database import Database
from opskit.database.error_translation import translated
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.cancelling import end_cancelled
from opskit.queue.stored import clean_error

MOST_INTERRUPTIONS = 20
"""How many interruptions since a file's last requeue cost it nothing."""


def interrupt(db: Database, *, id: str, token: str, reason: str, actor: str) -> str:
    """Give back a file whose attempt was interrupted: nothing is counted, within `MOST_INTERRUPTIONS`.

    Returns:
        "queued"; "failed" when it was interrupted too often and its retry budget is spent, or when its node says
        `on_orphan=fail`; "lost" when the claim is no longer this token's.

    SQL: sql/interrupt.sql
    """
    settings = db.settings
    row = db.one(
        "interrupt",
        id=id,
        token=token,
        reason=clean_error(reason),
        most=MOST_INTERRUPTIONS,
        on_orphan=settings.on_orphan,
        max_failures=settings.max_failures,
        retry_seconds=settings.retry_seconds,
        actor=actor,
    )
    answer = str(row["answer"])
    return end_cancelled(db, id=id, token=token, actor=actor) if answer == "cancelled" else answer


def passing(error: DatabaseError | DatabaseUnavailableError) -> bool:
    """Whether it passes by itself: no answer, or serialization, deadlock, resources, read-only, shutdown."""
    if isinstance(error, DatabaseUnavailableError):
        return True
    state = error.sqlstate or ""
    return state[:2] in ("40", "53", "57", "58") or state in ("25006", "55P03", "23505")


def by_outage(db: Database, error: BaseException) -> bool:
    """Whether what a processor raised says that our own database went away under it.

    A processor may reach other databases, whose errors look alike: so ours is asked.
    """
    if isinstance(error, DatabaseUnavailableError):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    try:
        with translated():
            raise error
    except DatabaseUnavailableError:
        return _is_away(db)
    except DatabaseError:
        return False


def _is_away(db: Database) -> bool:
    """Whether the connection that the processor was given is broken, or does not answer."""
    if db.broken:
        return True
    try:
        with db.connection() as connection:
            connection.execute("SELECT 1")
    except (DatabaseError, DatabaseUnavailableError):
        return True
    return False
