"""Requeuing: queues ended files again, with a fresh retry budget."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue import lanes
from opskit.support import notebook_output

_REQUEUED = 10_000


class Requeued(list[Row]):
    """The files that were queued again; a list like any other."""

    @property
    def message(self) -> str:
        """The same in a sentence."""
        was = Counter(row["was"] for row in self)
        told = ", ".join(f"{count} {state}" for state, count in was.most_common())
        files = f"{len(self):,d} {'file' if len(self) == 1 else 'files'}"
        return f"{files} queued again (before: {told})" if self else "no file was queued again"

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.requeued(self.message, self)


def requeue(
    db: Database,
    ids: Iterable[str] = (),
    *,
    attempts: Iterable[str] = (),
    failed: bool = False,
    error: str = "",
    server_id: str = "",
    lane: str = "",
    cancelled: bool = False,
    limit: int | None = None,
    actor: str = "",
    reason: str = "",
) -> Requeued:
    """Queue files again that have ended, with a fresh retry budget; the history keeps the row as it was.

    Args:
        db: An open database.
        ids: These files, failed or completed.
        attempts: With *ids*: only those that are failed at this attempt still, as "id/attempt". Defaults to all.
        failed: Every failed file that *error* (as `stats.failures` groups it), *server_id* and *lane* let through.
        lane: With *failed*: only files of this lane; "(none)" for those without one.
        cancelled: With *failed*: cancelled ones, too. Left out otherwise, but by their ids or their error.
        limit: Most rows. Defaults to all, which are queued in batches: what is queued stays so if a later one fails.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Returns:
        The files queued, with their name and the state they were in.

    Raises:
        SettingError: Both files and *failed* were given, or the table has no lanes.

    SQL: sql/requeue.sql
    """
    db.writing()
    ids, attempts = list(ids), list(attempts)
    if ids and failed:
        raise SettingError("give the files, or say that every failed one is meant; not both")
    of_lane = lanes.of_lane(db, lane)

    def batch(rows: int, which: str, *, ids: Sequence[str] = (), before: str = "") -> list[Row]:
        return db.run(
            "requeue", which=which, ids=list(ids), attempts=attempts, error=error, server_id=server_id, row_limit=rows,
            before=before, cancelled=cancelled, of_lane=of_lane, actor=actor or db.actor, reason=reason,
        )  # fmt: skip

    queued = Requeued()
    left = math.inf if limit is None else limit
    for start in range(0, len(ids), _REQUEUED):
        if left > len(queued):
            queued += batch(int(min(left - len(queued), _REQUEUED)), "ids", ids=ids[start : start + _REQUEUED])
    # What fails again meanwhile has failed after we began.
    began = clock(db) if failed else ""
    while failed and left > len(queued):
        rows = int(min(left - len(queued), _REQUEUED))
        found = batch(rows, "failed", before=began)
        queued += found
        failed = len(found) == rows
    return queued


def requeueable(
    db: Database,
    ids: Iterable[str] = (),
    *,
    attempts: Iterable[str] = (),
    failed: bool = False,
    error: str = "",
    server_id: str = "",
    lane: str = "",
    cancelled: bool = False,
) -> Requeued:
    """The files that `requeue` would queue now, at most 10,000 of them; nothing is changed.

    Exact, because the statement itself is run and rolled back: it needs the right to requeue.

    Args:
        db: An open database.
        ids: These files, failed or completed.
        attempts: With *ids*: only those that are failed at this attempt still, as "id/attempt".
        failed: Every failed file that *error* and *server_id* let through.
        error: Only this error, as `stats.failures` groups it.
        server_id: Only files that this node failed.
        lane: With *failed*: only files of this lane.
        cancelled: With *failed*: cancelled ones, too.

    SQL: sql/requeue.sql, rolled back
    """
    db.writing()
    values = {
        "which": "failed" if failed else "ids", "ids": list(ids), "attempts": list(attempts), "error": error,
        "server_id": server_id, "of_lane": lanes.of_lane(db, lane), "cancelled": cancelled, "row_limit": _REQUEUED,
        "before": "",
        "actor": db.actor, "reason": "dry run",
    }  # fmt: skip
    with db.connection() as connection, connection.transaction(force_rollback=True):
        return Requeued(db.run_on(connection, "requeue", **values))


def clock(db: Database) -> str:
    """The database's time, as text."""
    with db.connection() as connection:
        row = connection.execute("SELECT clock_timestamp()::text AS now").fetchone()
    assert row is not None
    return str(row["now"])
