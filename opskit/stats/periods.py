"""What happened in a stretch of time: how many files came and ended, and each attempt from its claim to its end."""

from __future__ import annotations

import pandas as pd

from opskit.database import Database
from opskit.errors import SettingError
from opskit.stats import list_rows
from opskit.stats.catalog import STATISTICS
from opskit.stats.frames import frame_of, on_page, positive, read, with_lane
from opskit.stats.list_rows import most

_MOST_BUCKETS = 10_000


def throughput(
    db: Database, *, since_seconds: float = 86400, bucket_seconds: float = 3600, lane: str = ""
) -> pd.DataFrame:
    """How many files ended in each stretch of time, and how long they waited and ran.

    Args:
        db: An open database.
        since_seconds: How far back [s], > 0. Defaults to a day.
        bucket_seconds: Length of a stretch [s], > 0; at most 10,000 of them. Defaults to an hour.
        lane: Only files of this lane; "(none)" for those without one. Defaults to all.

    Returns:
        | column               | dtype   | unit                                             |
        |----------------------|---------|--------------------------------------------------|
        | bucket_start         | time    | begin of the stretch, UTC                        |
        | processing_status    | string  | completed or failed                              |
        | processing_server_id | string  | server ID                                        |
        | file_count           | Int64   | files                                            |
        | mean_wait_seconds    | Float64 | s from the queue to the claim                    |
        | mean_run_seconds     | Float64 | s from the claim to the end                      |

        Stretches in which nothing ended have no row. Empty: the same columns, no rows.

    Raises:
        SettingError: A length cannot be used.

    SQL: sql/throughput.sql
    """
    if positive("since_seconds", since_seconds) / positive("bucket_seconds", bucket_seconds) > _MOST_BUCKETS:
        raise SettingError(f"{since_seconds:g} s hold more than {_MOST_BUCKETS} stretches of {bucket_seconds:g} s")
    return read(STATISTICS["throughput"], db, since_seconds=since_seconds, bucket_seconds=bucket_seconds, lane=lane)


def forecast(db: Database) -> pd.DataFrame:
    """When the queue will be empty, judged by what came and what ended in the last hour, in one row.

    A batch that is over counts as no rate; two batches and a stream do. Of several rates that can be meant the highest
    counts, so that a queue that grows is not called emptying.

    Args:
        db: An open database.

    Returns:
        | column                                  | dtype   | unit                                                  |
        |-----------------------------------------|---------|-------------------------------------------------------|
        | queued, due                             | Int64   | files in the queue; of them: may be claimed now       |
        | came_minute, came_five_minutes,         | Int64   | files that came into the queue in that time, at most  |
        | came_quarter_hour                       |         | 10,000                                                |
        | ended_minute, ended_five_minutes,       | Int64   | files that completed or failed in that time, at most  |
        | ended_quarter_hour                      |         | 10,000                                                |
        | came_per_minute, ended_per_minute       | Float64 | files/min; NA: too early to tell                      |
        | change_per_minute                       | Float64 | files/min; below 0 the queue shrinks                  |
        | verdict                                 | string  | empty, emptying, growing, steady (too little          |
        |                                         |         | difference to tell), standing (nobody claims) or      |
        |                                         |         | unknown (too early to tell)                           |
        | empty_in_seconds                        | Float64 | s; NA unless it is empty or emptying                  |
        | as_of                                   | time    | the database's clock, UTC                             |

        Always one row.

    SQL: sql/forecast.sql
    """
    return read(STATISTICS["forecast"], db)


def timeline(db: Database, *, since_seconds: float = 3600, until_seconds: float = 0, limit: int = 2000) -> pd.DataFrame:
    """Every attempt as a bar from its claim to its end, and what happened to the nodes as marks between them.

    Args:
        db: An open database.
        since_seconds: Begin of the window, so long ago [s], > 0. Defaults to an hour.
        until_seconds: Its end, so long ago [s], >= 0. Defaults to now.
        limit: Most rows, the newest, >= 1. Defaults to 2000.

    Returns:
        | column                     | dtype   | unit                                                         |
        |----------------------------|---------|--------------------------------------------------------------|
        | kind                       | string  | attempt: a bar; boot, stop, state, pause, resume, migrate: a |
        |                            |         | mark at its start                                            |
        | server_id                  | string  | whose lane; * for all                                        |
        | file_id, original_filename | string  | the file of an attempt                                       |
        | attempt                    | Int64   | number of the attempt                                        |
        | started_at, ended_at       | time    | UTC; an attempt in processing ends now                       |
        | outcome                    | string  | completed, failed, processing, or what went wrong            |
        | followed                   | string  | the state that followed what went wrong                      |
        | cleaned                    | boolean | a cleanup ended it                                           |
        | overlaps                   | boolean | another attempt at the same file ran at the same time        |
        | reason, actor              | string  | why and who                                                  |
        | lane                       | string  | that of the file, as it is now; only where the table has     |
        |                            |         | lanes                                                        |

        Oldest start first. Empty: the same columns, no rows. `attrs["more"]` says whether there are more than *limit*.

    Raises:
        SettingError: The window cannot be used.

    SQL: sql/timeline.sql; names of files from sql/filenames.sql
    """
    rows = list_rows.timeline(db, since_seconds=since_seconds, until_seconds=until_seconds, limit=most(limit) + 1)
    rows, more = rows[-limit:], len(rows) > limit
    note = {"note": f"the {limit:,d} newest of this time; there are more: limit=, or a shorter time"} if more else {}
    shown = with_lane(db, STATISTICS["timeline"])
    return frame_of(rows, shown, empty="nothing happened in this time", more=more, **note, **on_page(db, "timeline"))
