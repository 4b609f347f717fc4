"""How many: files per state and server, the numbers of the moment, failures by their error.

What has ended takes long to count where there are millions. Whoever serves many readers gives *patience_seconds*: then
the live numbers are of this moment, and the others as of their own, which is said beside them (`Kept`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import StillCountingError
from opskit.queue import lanes
from opskit.stats.columns import CONCURRENCY, DISTRIBUTION, FAILURES
from opskit.stats.frames import cut_frame, frame_of, on_page, records
from opskit.stats.list_rows import most

_LONGEST_COUNT_SECONDS = 60.0


def distribution(db: Database, *, lane: str = "", patience_seconds: float | None = None) -> pd.DataFrame:
    """How many files each server has in each state; rows with a status, deleted ones excluded.

    Args:
        db: An open database.
        lane: Only files of this lane; "(none)" for those without one. Defaults to all.
        patience_seconds: Those that have ended may be as of some time in the last minute or two, and are waited for
            so long when they have not been counted yet [s]. Defaults to everything of this moment.

    Returns:
        | column               | dtype  | unit                                            |
        |----------------------|--------|-------------------------------------------------|
        | processing_server_id | string | server ID; NA for files that belong to none yet |
        | processing_status    | string | queued, processing, completed or failed         |
        | file_count           | Int64  | files                                           |

        By server, those without one first, then by state. Empty: the same columns, no rows. `attrs["counted_at"]`
        says when those that have ended were counted; None: not yet, and they are left out.

    SQL: sql/distribution.sql; with *patience_seconds* sql/live_distribution.sql and sql/ended.sql; of one lane
    sql/distribution_of_lane.sql
    """
    if lane:
        return _distribution_of(db, lanes.of_lane(db, lane), patience_seconds)
    ended = None if patience_seconds is None else _ended(db, patience_seconds)
    if patience_seconds is None or db.cache.quick("ended"):
        rows, moment = _whole(db, "distribution")
        return frame_of(rows, DISTRIBUTION, empty="no files yet", counted_at=moment)
    rows = db.run("live_distribution") + [row for row in ended or [] if row["processing_status"]]
    rows.sort(key=lambda row: (row["processing_server_id"] or "", row["processing_status"]))
    return frame_of(rows, DISTRIBUTION, empty="no files yet", counted_at=_counted_at(ended))


def _distribution_of(db: Database, lane: str, patience_seconds: float | None) -> pd.DataFrame:
    """The files of one lane, with *patience_seconds* all as of some time in the last minute or two."""

    def count() -> tuple[list[Row], datetime]:
        begun = datetime.now(UTC)
        return db.run_long("distribution_of_lane", seconds=_LONGEST_COUNT_SECONDS, of_lane=lane), begun

    found = _kept(db, ("distribution", lane), count, 1, patience_seconds)
    return frame_of(found[0], DISTRIBUTION, empty="no files yet", counted_at=found[1])


def _kept(
    db: Database,
    key: object,
    count: Callable[[], tuple[list[Row], datetime]],
    cost: int,
    patience_seconds: float | None,
) -> tuple[list[Row], datetime]:
    """What is slow to count, perhaps as of a minute ago, and when it was counted.

    Raises:
        StillCountingError: It was not counted within *patience_seconds*.
    """
    if patience_seconds is None:
        return count()
    found = db.cache.read(
        key, count, lambda found: cost * sum(row["file_count"] for row in found[0]), patience_seconds=patience_seconds
    )
    if found is None:
        raise StillCountingError
    return found


def concurrency(db: Database, *, patience_seconds: float | None = None) -> pd.DataFrame:
    """The numbers of the moment, in one row.

    Args:
        db: An open database; its `stale_after_seconds` judges claims of unknown servers.
        patience_seconds: As for `distribution`: completed, failed and waiting_files may be as of counted_at.

    Returns:
        | column                                | dtype   | unit                                        |
        |---------------------------------------|---------|---------------------------------------------|
        | total_files                           | Int64   | files with a status, deleted ones excluded  |
        | queued, processing, completed, failed | Int64   | files                                       |
        | waiting_files                         | Int64   | files without a status: not ours yet        |
        | stale_files                           | Int64   | claims without progress for too long        |
        | orphaned_files                        | Int64   | claims of dead or rebooted nodes            |
        | active_servers                        | Int64   | nodes whose lease runs                      |
        | claiming_nodes                        | Int64   | of them: not paused, draining or in         |
        |                                       |         | quarantine                                  |
        | quarantined_nodes                     | Int64   | of them: in quarantine                      |
        | oldest_queued_seconds                 | Float64 | s; NA when nothing is queued                |
        | all_paused                            | boolean | whether claiming is paused for all          |
        | breaker                               | string  | the error of the world that keeps nodes     |
        |                                       |         | from claiming; NA: the breaker is closed    |
        | as_of                                 | time    | the database's clock, UTC                   |
        | counted_at                            | time    | when completed, failed and waiting_files    |
        |                                       |         | were counted; NA: not yet, and these are NA |

        Always one row.

    SQL: sql/concurrency.sql; with *patience_seconds* sql/live.sql and sql/ended.sql
    """
    stale_after = db.settings.stale_after_seconds
    ended = None if patience_seconds is None else _ended(db, patience_seconds)
    if patience_seconds is None or db.cache.quick("ended"):
        return frame_of(_whole(db, "concurrency", stale_after_seconds=stale_after)[0], CONCURRENCY)
    row = db.one("live", stale_after_seconds=stale_after)
    if ended is not None:
        by_state = dict.fromkeys(("completed", "failed", None), 0)
        for count in ended:
            by_state[count["processing_status"]] += count["file_count"]
        row |= {"completed": by_state["completed"], "failed": by_state["failed"], "waiting_files": by_state[None]}
        row["total_files"] = row["queued"] + row["processing"] + row["completed"] + row["failed"]
        row["counted_at"] = _counted_at(ended)
    return frame_of([row], CONCURRENCY)


def server_counts(db: Database, server_id: str, *, patience_seconds: float | None = None) -> dict[str, int]:
    """What one server ID has done: files in processing, completed and failed under it.

    Args:
        db: An open database.
        server_id: The node.
        patience_seconds: As for `distribution`.

    Raises:
        StillCountingError: What has ended was not counted within *patience_seconds*.

    SQL: sql/server_counts.sql; with *patience_seconds* as `distribution`
    """
    if patience_seconds is None:
        return db.one("server_counts", server_id=server_id)
    counts = dict.fromkeys(("processing", "completed", "failed"), 0)
    frame = counted(distribution(db, patience_seconds=patience_seconds))
    for row in records(frame[frame["processing_server_id"] == server_id]):
        if row["processing_status"] in counts:
            counts[row["processing_status"]] = row["file_count"]
    return counts


def failures(db: Database, *, limit: int = 100, lane: str = "", patience_seconds: float | None = None) -> pd.DataFrame:
    """What goes wrong: failed files grouped by the identity of their error: exception, message and place.

    Args:
        db: An open database.
        limit: Most groups, >= 1. Defaults to 100.
        lane: Only files of this lane; "(none)" for those without one. Defaults to all.
        patience_seconds: They may be as of some time in the last minute or two, which `attrs["counted_at"]` says, and
            are waited for so long when they have not been counted yet [s]. Defaults to those of this moment.

    Returns:
        | column                         | dtype  | unit                                          |
        |--------------------------------|--------|-----------------------------------------------|
        | error                          | string | the group, as `requeue(error=…)` takes it     |
        | message                        | string | exception and message, without numbers, ids,  |
        |                                |        | paths and quoted values                       |
        | place                          | string | the processor's own innermost frame, or ""    |
        | file_count                     | Int64  | files                                         |
        | last_hour, last_day, last_week | Int64  | files that failed within that time            |
        | latest, earliest               | time   | when the newest and the oldest of them        |
        |                                |        | failed, UTC                                   |
        | example                        | string | name of the newest, or of one of them         |

        Largest group first. Empty: the same columns, no rows. `attrs["more"]` says whether there are more than *limit*.

    Raises:
        StillCountingError: They were not counted within *patience_seconds*.

    SQL: sql/failures.sql
    """
    values = {"row_limit": most(limit) + 1, "of_lane": lanes.of_lane(db, lane)}
    how: dict[str, Any] = {"empty": "no file has failed", **on_page(db, "failures", lane=lane)}
    if patience_seconds is None:
        return cut_frame(db.run("failures", **values), FAILURES, limit, "largest groups", **how)

    def count() -> tuple[list[Row], datetime]:
        begun = datetime.now(UTC)
        return db.run_long("failures", seconds=_LONGEST_COUNT_SECONDS, **values), begun

    # Each costs ten times what a count does.
    found = _kept(db, ("failures", limit, lane), count, 10, patience_seconds)
    return cut_frame(found[0], FAILURES, limit, "largest groups", counted_at=found[1], **how)


def counted(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame itself, when what has ended is in it.

    Raises:
        StillCountingError: It was not counted in time.
    """
    if counted_at(frame) is None:
        raise StillCountingError
    return frame


def counted_at(frame: pd.DataFrame) -> datetime | None:
    """When what has ended was counted, for a frame that says so; None: not yet."""
    moment = frame["counted_at"].iloc[0] if "counted_at" in frame else frame.attrs.get("counted_at")
    return None if moment is None or pd.isna(moment) else pd.Timestamp(moment).to_pydatetime()


def _ended(db: Database, patience_seconds: float) -> list[Row] | None:
    """What `sql/ended.sql` answers, perhaps as of a minute ago; None when it is quick, or was not counted in time."""
    if db.cache.quick("ended"):
        return None
    return db.cache.read(
        "ended",
        lambda: db.run_long("ended", seconds=_LONGEST_COUNT_SECONDS),
        lambda rows: sum(row["file_count"] for row in rows),
        patience_seconds=patience_seconds,
    )


def _whole(db: Database, name: str, **values: object) -> tuple[list[Row], datetime]:
    """A statement that counts everything in one snapshot, and when that was; whether it is still quick is noted."""
    moment, begun = datetime.now(UTC), time.monotonic()
    rows = db.run(name, **values)
    counted = sum(row.get("file_count") or row.get("total_files", 0) + row.get("waiting_files", 0) for row in rows)
    db.cache.note("ended", seconds=time.monotonic() - begun, size=counted)
    return rows, moment


def _counted_at(ended: list[Row] | None) -> datetime | None:
    return ended[0]["counted_at"] if ended else None
