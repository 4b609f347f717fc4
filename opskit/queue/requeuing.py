"""Requeue: files that have ended are queued again, with a fresh retry budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError

_REQUEUED = 10_000


def requeue(
    db: Database,
    ids: Iterable[str] = (),
    *,
    failed: bool = False,
    error: str = "",
    server_id: str = "",
    limit: int | None = None,
    actor: str,
    reason: str = "",
) -> list[dict[str, object]]:
    """Queue files again that have ended, with a fresh retry budget; the history keeps the row as it was.

    Args:
        db: An open database.
        ids: These files, failed or completed.
        failed: Every failed file that *error* (as `stats.failures` groups it) and *server_id* let through.
        limit: Most rows. Defaults to all, which are queued in batches: what is queued stays so if a later one fails.
        actor: Who does it, for the history.
        reason: Why, for the history.

    Returns:
        The files queued, with their name and the state they were in.

    Raises:
        SettingError: Both files and *failed* were given.

    SQL: sql/requeue.sql
    """
    db.writing()
    ids = list(ids)
    if ids and failed:
        raise SettingError("give the files, or say that every failed one is meant; not both")

    def batch(rows: int, which: str, *, ids: Sequence[str] = (), before: str = "") -> list[Row]:
        return db.run(
            "requeue", which=which, ids=list(ids), error=error, server_id=server_id, row_limit=rows, before=before,
            actor=actor, reason=reason,
        )  # fmt: skip

    queued: list[dict[str, object]] = []
    left = math.inf if limit is None else limit
    for start in range(0, len(ids), _REQUEUED):
        if left > len(queued):
            queued += batch(int(min(left - len(queued), _REQUEUED)), "ids", ids=ids[start : start + _REQUEUED])
    # What fails again meanwhile has failed after we began.
    began = _clock(db) if failed else ""
    while failed and left > len(queued):
        rows = int(min(left - len(queued), _REQUEUED))
        found = batch(rows, "failed", before=began)
        queued += found
        failed = len(found) == rows
    return queued


def _clock(db: Database) -> str:
    with db.connection() as connection:
        row = connection.execute("SELECT clock_timestamp()::text AS now").fetchone()
    assert row is not None
    return str(row["now"])
