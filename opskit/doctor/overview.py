"""The Overview as plain data: what needs a person, and the numbers of the moment.

A notebook's panel and `opskit watch` read it. Live numbers are of each moment. What takes long is read the more seldom
the longer it takes, so that a look at a large table costs the server little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from opskit import doctor, queue
from opskit.database import Database, Row
from opskit.errors import DatabaseError
from opskit.queue import lanes

_SHARE = 20
"""What took a second is read again after so many [s]."""
_SELDOM_SECONDS, _OFTEN_SECONDS = 10.0, 2.0
_MOST_ROWS = 8
_DENIED, _CANCELED = "42501", "57014"


class Overview:
    """The reader of one view.

    Args:
        db: A database with a connection of its own: it may be read from a thread.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._groups = _Kept(lambda: db.run("failures", of_lane="", row_limit=_MOST_ROWS), _SELDOM_SECONDS)
        self._needs = _Kept(lambda: _findings(db), _SELDOM_SECONDS)
        self._forecast = _Kept(lambda: db.run("forecast"), _OFTEN_SECONDS)
        self._ended = _Kept(lambda: db.run("ended"), 0.0)
        self._attempts = _Kept(
            lambda: db.run("events", file_id="", kind="attempt", row_limit=_MOST_ROWS), _OFTEN_SECONDS
        )
        self._said = _Kept(lambda: db.run("last_said", row_limit=_MOST_ROWS), _OFTEN_SECONDS)

    def read(self) -> dict[str, Any]:
        """Read the overview as it is now.

        Returns:
            environment, table, as_of;
            needs: the doctor's errors, and its warnings about the work, errors first;
            numbers: a row of sql/live.sql, with completed and failed as they were counted last (None: not yet);
            forecast: a row of sql/forecast.sql; claims: those that nobody works on, rows of sql/stale.sql;
            nodes: rows of sql/nodes.sql but for the stopped ones; failures: the largest groups, rows of
            sql/failures.sql; attempts: the newest that went wrong, rows of sql/events.sql;
            said: what attempts have said last, rows of sql/last_said.sql; None where this role may not read it.

        Raises:
            DatabaseUnavailableError: No answer.
        """
        db = self._db
        lanes.known(db)
        numbers = db.one("live", stale_after_seconds=db.settings.stale_after_seconds)
        forecast = self._forecast.read()
        return {
            "environment": db.settings.env,
            "table": db.settings.files,
            "as_of": numbers["as_of"],
            "needs": self._needs.read() or [],
            "numbers": _counts(numbers, self._ended.read()),
            "forecast": forecast[0] if forecast else None,
            "claims": list(queue.preview(db, look=False)),
            "nodes": [row for row in db.run("nodes") if row["state"] != "stopped"],
            "failures": self._groups.read() or [],
            "attempts": self._attempts.read() or [],
            "said": self._said.read(),
        }

    def hurry(self) -> None:
        """Read everything at the next turn: something was done."""
        for kept in (self._groups, self._needs, self._forecast, self._ended, self._attempts, self._said):
            kept.due_at = 0.0


class _Kept:
    """An answer, and when to ask again; None where it was refused, or did not come within the connection's time."""

    def __init__(self, ask: Callable[[], list[Row]], least_seconds: float) -> None:
        self._ask, self._least_seconds = ask, least_seconds
        self._answer: list[Row] | None = None
        self.due_at = 0.0

    def read(self) -> list[Row] | None:
        begun = time.monotonic()
        if begun < self.due_at:
            return self._answer
        try:
            self._answer = self._ask()
        except DatabaseError as error:
            if error.sqlstate == _DENIED:
                self._answer = None
            elif error.sqlstate != _CANCELED:  # the last answer stays
                raise
        now = time.monotonic()
        self.due_at = now + max(self._least_seconds, _SHARE * (now - begun))
        return self._answer


def _findings(db: Database) -> list[Row]:
    found = doctor.examine(db)
    return [asdict(one) for one in found if one.level == "error" or one.check in doctor.WORK]


def _counts(numbers: Mapping[str, Any], ended: list[Row] | None) -> Row:
    """The live numbers, and beside them what has ended."""
    by_state: dict[str | None, int | None] = dict.fromkeys(("completed", "failed", None))
    for row in ended or []:
        by_state[row["processing_status"]] = (by_state[row["processing_status"]] or 0) + row["file_count"]
    if ended is not None:
        by_state = {state: count or 0 for state, count in by_state.items()}
    return {
        "queued": numbers["queued"], "processing": numbers["processing"], "completed": by_state["completed"],
        "failed": by_state["failed"], "waiting_files": by_state[None],
        **{key: value for key, value in numbers.items() if key not in ("queued", "processing", "as_of")},
        "counted_at": ended[0]["counted_at"] if ended else None,
    }  # fmt: skip
