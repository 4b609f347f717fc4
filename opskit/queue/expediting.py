"""Expediting: gives queued files a head start, as if they had arrived earlier."""

from __future__ import annotations

from collections.abc import Iterable

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError

LONGEST_SECONDS = 366 * 86400.0
"""The longest head start [s]."""


def expedite(
    db: Database, ids: Iterable[str], *, ahead_seconds: float = 3600.0, actor: str = "", reason: str = ""
) -> list[Row]:
    """Give queued files a head start: they overtake what came within it, and nothing starves.

    Waits and "oldest queued" are told without the head start. A file that waits for its retry is due at once.

    Args:
        db: An open database.
        ids: These files; those that are not queued are left alone.
        ahead_seconds: The head start before their arrival [s], 0 to `LONGEST_SECONDS`; 0 takes an earlier one back.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Returns:
        The files moved: id, original_filename, arrived_at, place.

    Raises:
        SettingError: *ahead_seconds* is no such head start, or no file was given.

    SQL: sql/expedite.sql
    """
    db.writing()
    wanted = [str(id) for id in ids]
    if not wanted:
        raise SettingError("say which files: give their ids")
    return db.run(
        "expedite", ids=wanted, ahead_seconds=head_start(ahead_seconds), actor=actor or db.actor, reason=reason
    )


def head_start(seconds: float) -> float:
    """A head start that is one.

    Raises:
        SettingError: It is negative, too long or no number.
    """
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise SettingError(f"the head start is {seconds:g} s; it must be between 0 and {LONGEST_SECONDS:g}")
    return seconds
