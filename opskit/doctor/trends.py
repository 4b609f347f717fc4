"""The checks of what changes: whether files fail now that did not before, and whether the queue is worked off."""

from __future__ import annotations

from collections.abc import Iterator

from opskit.database import Database
from opskit.doctor.finding import Condition, Finding, lines, opskit
from opskit.support.wording import count, span

FAILING_SECONDS = 900.0
"""How long "now" is for failures, and the stretch over which the queue is judged [s]."""
BEFORE_SECONDS = 3600.0
"""The time before it that failures are compared with [s]."""
FEWEST_FAILED = 3
"""Fewer failures than these are not told as a change."""
LONG_WAIT_SECONDS = 900.0
"""How long a due file may wait before that is told [s]."""
_COUNTED = 10_000


def failing(db: Database) -> Iterator[Finding]:
    """Files that fail now, more than before."""
    now = db.one("doctor/failing", now_seconds=FAILING_SECONDS, before_seconds=BEFORE_SECONDS, row_limit=_COUNTED)
    before = now["failed_before"] * FAILING_SECONDS / BEFORE_SECONDS
    if now["failed"] < FEWEST_FAILED or now["failed"] <= 2 * before:
        return
    failed = count(now["failed"], "file") if now["failed"] < _COUNTED else f"at least {_COUNTED:,} files"
    earlier = f"{now['failed_before']}" if now["failed_before"] else "none"
    where = f"all on {now['server_id']}" if now["servers"] == 1 else f"on {count(now['servers'], 'node')}"
    yield Finding(
        "warning",
        f"{failed} failed in {span(FAILING_SECONDS)}, {now['count']} of them with {now['error']} ({where}); "
        f"{earlier} in {span(BEFORE_SECONDS)} before",
        f"{count(now['ended'], 'file')} ended in that time"
        if now["ended"] < _COUNTED
        else "files fail that did not before",
        lines(
            opskit(db, "stats failures"),
            opskit(db, "requeue --failed") + "  # when the cause is mended",
        ),
        condition=Condition.FILES_FAIL,
        concerns=(now["error"],) if now["error"] else (),
    )


def backlog(db: Database) -> Iterator[Finding]:
    """Due files that wait long while nodes claim, and a queue that grows."""
    if not db.one("doctor/queue", row_limit=1)["claiming"]:
        return  # `queue` says why nobody claims
    now = db.one("doctor/backlog", since_seconds=FAILING_SECONDS, row_limit=_COUNTED)
    waited = now["oldest_seconds"] or 0.0
    if waited < LONG_WAIT_SECONDS:
        return
    surplus = now["came"] - now["ended"]
    counted = now["came"] < _COUNTED and now["ended"] < _COUNTED
    if not now["ended"]:
        trend = f"nothing ended in {span(FAILING_SECONDS)}"
    elif surplus > 0 and counted:
        trend = f"the queue grows: {surplus} more came than ended in {span(FAILING_SECONDS)}"
    else:
        trend = f"{now['ended']} ended in {span(FAILING_SECONDS)}"
    yield Finding(
        "warning",
        f"the oldest queued file has waited {span(waited)}; {trend}",
        "files wait longer than they should",
        lines(
            opskit(db, "worker") + "  # one more node",
            opskit(db, "stats longest-running") + "  # what the nodes are busy with",
        ),
        condition=Condition.QUEUE_WAITS,
    )
