"""Deferrals: a processor asks to be called again later."""

from __future__ import annotations

from opskit.database import Database
from opskit.errors import Retry
from opskit.queue.cancelling import end_cancelled
from opskit.queue.stored import clean_error

MOST_DEFERRALS = 20
"""How many deferrals since a file's last requeue cost it nothing."""


def defer(db: Database, retry: Retry, *, id: str, token: str, actor: str) -> str:
    """Give back a file whose processor raised `Retry`: due then; nothing is counted unless it says so.

    Returns:
        "queued"; "failed" when it counts and the retry budget is spent;
        "lost" when the claim is not this token's any more.

    SQL: sql/defer.sql
    """
    row = db.one(
        "defer",
        id=id,
        token=token,
        reason=clean_error(str(retry)),
        after_seconds=retry.after_seconds,
        counted=retry.counted,
        most=MOST_DEFERRALS,
        max_failures=db.settings.max_failures,
        actor=actor,
    )
    answer = str(row["answer"])
    return end_cancelled(db, id=id, token=token, actor=actor) if answer == "cancelled" else answer
