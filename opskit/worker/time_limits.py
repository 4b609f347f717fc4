"""Time limits of an attempt: without progress, and in all."""

from __future__ import annotations

from opskit.settings import Settings
from opskit.worker.child_process import Ending
from opskit.worker.status import Snapshot


def next_limit(settings: Settings, server_id: str, snapshot: Snapshot) -> tuple[float, Ending] | None:
    """When the file in hand is over its limit [s, monotonic], and how its attempt ends then; None without a file."""
    if not snapshot.started:
        return None
    stale = settings.stale_after_seconds
    limits = [
        (
            snapshot.moved + stale,
            Ending(
                "timeout",
                f"Processing timeout: no progress for {stale / 60:g} minutes on {server_id}",
                "Processing timeout: no progress",
            ),
        )
    ]
    hard = settings.hard_limit_seconds
    if hard is not None:
        over = Ending("crashed", f"over its hard limit of {hard:g} s", "over its hard limit")
        limits.append((snapshot.started + hard, over))
    return min(limits, key=lambda limit: limit[0])
