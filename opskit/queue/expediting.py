"""Expediting: gives queued files a head start, as if they had arrived earlier."""

from __future__ import annotations

from collections.abc import Iterable

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue import lanes
from opskit.queue.cancelling import check

BATCH = 10_000
LONGEST_SECONDS = 366 * 86400.0
"""The longest head start [s]."""


def expedite(
    db: Database,
    ids: Iterable[str] = (),
    *,
    every: bool = False,
    search: str = "",
    lane: str = "",
    limit: int | None = None,
    ahead_seconds: float = 3600.0,
    actor: str = "",
    reason: str = "",
) -> list[Row]:
    """Give queued files a head start: they overtake what came within it, and nothing starves.

    Waits and "oldest queued" are told without the head start. A file that waits for its retry is due at once.

    Args:
        db: An open database.
        ids: These files; those that are not queued are left alone.
        every: Every queued file that *search* and *lane* let through and that has no such head start already.
        search: Only files whose name contains this, in any case.
        lane: Only files of this lane; "(none)" for those without one.
        limit: Most files. Defaults to all, in batches: what is moved stays so if a later batch fails.
        ahead_seconds: The head start before their arrival [s], 0 to `LONGEST_SECONDS`; 0 takes an earlier one back.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Returns:
        The files moved: id, original_filename, arrived_at, place.

    Raises:
        SettingError: *ahead_seconds* is no such head start, neither or both of files and *every* were given, or there
            are no lanes.

    SQL: sql/expedite.sql
    """
    db.writing()
    wanted = check(ids, every=every)
    given = _given(db, every=every, search=search, lane=lane, ahead_seconds=ahead_seconds)
    moved: list[Row] = []
    parts = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
    while limit is None or len(moved) < limit:
        rows = BATCH if limit is None else min(BATCH, limit - len(moved))
        part = parts.pop(0) if parts else []
        found = db.run("expedite", **given, ids=part, row_limit=rows, actor=actor or db.actor, reason=reason)
        moved += found
        # Of every file those that were moved are not found again.
        if not parts and (not every or len(found) < rows):
            break
    return moved


def preview_expedite(
    db: Database,
    ids: Iterable[str] = (),
    *,
    every: bool = False,
    search: str = "",
    lane: str = "",
    limit: int = BATCH,
    ahead_seconds: float = 3600.0,
) -> list[Row]:
    """What `expedite` would move, those that come first now first; changes nothing.

    Args:
        db: An open database.
        ids: As for `expedite`.
        every: As for `expedite`.
        search: As for `expedite`.
        lane: As for `expedite`.
        limit: Most rows.
        ahead_seconds: As for `expedite`.

    Returns:
        id, original_filename, arrived_at, queued_at (its place now), place (the one that it would have).

    Raises:
        SettingError: As for `expedite`.

    SQL: sql/expeditable.sql
    """
    wanted = check(ids, every=every)
    given = _given(db, every=every, search=search, lane=lane, ahead_seconds=ahead_seconds)
    return db.run("expeditable", **given, ids=wanted, row_limit=limit)


def _given(db: Database, *, every: bool, search: str, lane: str, ahead_seconds: float) -> dict[str, object]:
    """What both statements take, beside the ids.

    Raises:
        SettingError: As for `expedite`.
    """
    return {
        "which": "every" if every else "ids", "search": search, "of_lane": lanes.of_lane(db, lane),
        "ahead_seconds": head_start(ahead_seconds),
    }  # fmt: skip


def head_start(seconds: float) -> float:
    """A head start that is one.

    Raises:
        SettingError: It is negative, too long or no number.
    """
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise SettingError(f"the head start is {seconds:g} s; it must be between 0 and {LONGEST_SECONDS:g}")
    return seconds
