"""The statistics: what is going on, as DataFrames whose columns and dtypes never change.

Each function runs one file of `sql/` and owns the table of its columns; an empty answer has the same
columns and dtypes, so that nothing downstream has to ask. Times are UTC whatever the application's column
says, because sessions run in UTC. Missing values are NA or NaT.

What has ended takes long to count where there are millions. Whoever serves many readers gives *patience_seconds*: then
the live numbers are of this moment, and the others as of their own, which is said beside them (`Kept`).
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from opskit.database import Database, Row
from opskit.errors import SettingError, StillCountingError

_TIME = "datetime64[us, UTC]"
_LOOK_SECONDS = 2.0  # as the reaper's; verbs do not import one another
_MOST_ROWS = 2**31 - 1
_MOST_BUCKETS = 10_000
_PLACE = re.compile(r"-infinity|\d{4,6}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?")
_LONGEST_COUNT_SECONDS = 60.0
SEARCH_ROWS = 100_000
"""How many files, the newest of their state, are searched for a name [rows]."""

DISTRIBUTION = {"processing_server_id": "string", "processing_status": "string", "file_count": "Int64"}
CONCURRENCY = {
    "total_files": "Int64",
    "queued": "Int64",
    "processing": "Int64",
    "completed": "Int64",
    "failed": "Int64",
    "waiting_files": "Int64",
    "stale_files": "Int64",
    "orphaned_files": "Int64",
    "active_servers": "Int64",
    "oldest_queued_seconds": "Float64",
    "all_paused": "boolean",
    "as_of": _TIME,
    "counted_at": _TIME,
}
LONGEST_RUNNING = {
    "original_filename": "string",
    "processing_server_id": "string",
    "processing_started_at": _TIME,
    "minutes_processing": "Float64",
}
STALE = {
    "id": "string",
    **LONGEST_RUNNING,
    "minutes_without_progress": "Float64",
    "seconds_since_heartbeat": "Float64",
    "processing_attempt": "Int64",
    "processing_failures": "Int64",
    "verdict": "string",
    "would_become": "string",
    "claim": "string",
}
NODES = {
    "server_id": "string",
    "state": "string",
    "original_filename": "string",
    "minutes_processing": "Float64",
    "progress_done": "Int64",
    "progress_total": "Int64",
    "beat_at": _TIME,
    "seconds_since_heartbeat": "Float64",
    "started_at": _TIME,
    "host": "string",
    "pid": "Int64",
    "version": "string",
    "file_id": "string",
}
THROUGHPUT = {
    "bucket_start": _TIME,
    "processing_status": "string",
    "processing_server_id": "string",
    "file_count": "Int64",
    "mean_wait_seconds": "Float64",
    "mean_run_seconds": "Float64",
}
FAILURES = {
    "error": "string",
    "file_count": "Int64",
    "last_hour": "Int64",
    "last_day": "Int64",
    "last_week": "Int64",
    "latest": _TIME,
    "example": "string",
}
FILES = {
    "id": "string",
    "original_filename": "string",
    "processing_status": "string",
    "processing_server_id": "string",
    "last_at": _TIME,
    "file_size": "Int64",
    "processing_attempt": "Int64",
    "processing_failures": "Int64",
    "processing_errors": "string",
}
EVENTS = {
    "id": "Int64",
    "at": _TIME,
    "kind": "string",
    "outcome": "string",
    "next_status": "string",
    "file_id": "string",
    "server_id": "string",
    "attempt": "Int64",
    "started_at": _TIME,
    "reason": "string",
    "actor": "string",
    "token": "string",
}
TIMELINE = {
    "kind": "string",
    "server_id": "string",
    "file_id": "string",
    "original_filename": "string",
    "attempt": "Int64",
    "started_at": _TIME,
    "ended_at": _TIME,
    "outcome": "string",
    "followed": "string",
    "cleaned": "boolean",
    "overlaps": "boolean",
    "reason": "string",
    "actor": "string",
}
EVIDENCE = {
    "claim": "string",
    "server_id": "string",
    "moved_at": _TIME,
    "progress_done": "Int64",
    "progress_total": "Int64",
    "beat_at": _TIME,
    "lease_until": _TIME,
    "lease_seconds": "Float64",
    "stale_after_seconds": "Float64",
    "host": "string",
    "pid": "Int64",
    "stopped_at": _TIME,
    "booted_at": _TIME,
    "suspected_at": _TIME,
    "sessions": "Int64",
}
PAUSES = {"scope": "string", "at": _TIME, "actor": "string", "reason": "string"}


def distribution(db: Database, *, patience_seconds: float | None = None) -> pd.DataFrame:
    """How many files each server has in each state; rows with a status, deleted ones excluded.

    Args:
        db: An open database.
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

    SQL: sql/distribution.sql; with *patience_seconds* sql/live_distribution.sql and sql/ended.sql
    """
    ended = None if patience_seconds is None else _ended(db, patience_seconds)
    if patience_seconds is None or db.kept.quick("ended"):
        rows, moment = _whole(db, "distribution")
        return _frame(rows, DISTRIBUTION, counted_at=moment)
    rows = db.run("live_distribution") + [row for row in ended or [] if row["processing_status"]]
    rows.sort(key=lambda row: (row["processing_server_id"] or "", row["processing_status"]))
    return _frame(rows, DISTRIBUTION, counted_at=_counted_at(ended))


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
        | oldest_queued_seconds                 | Float64 | s; NA when nothing is queued                |
        | all_paused                            | boolean | whether claiming is paused for all          |
        | as_of                                 | time    | the database's clock, UTC                   |
        | counted_at                            | time    | when completed, failed and waiting_files    |
        |                                       |         | were counted; NA: not yet, and these are NA |

        Always one row.

    SQL: sql/concurrency.sql; with *patience_seconds* sql/live.sql and sql/ended.sql
    """
    stale_after = db.settings.stale_after_seconds
    ended = None if patience_seconds is None else _ended(db, patience_seconds)
    if patience_seconds is None or db.kept.quick("ended"):
        return _frame(_whole(db, "concurrency", stale_after_seconds=stale_after)[0], CONCURRENCY)
    row = db.one("live", stale_after_seconds=stale_after)
    if ended is not None:
        by_state = dict.fromkeys(("completed", "failed", None), 0)
        for count in ended:
            by_state[count["processing_status"]] += count["file_count"]
        row |= {"completed": by_state["completed"], "failed": by_state["failed"], "waiting_files": by_state[None]}
        row["total_files"] = row["queued"] + row["processing"] + row["completed"] + row["failed"]
        row["counted_at"] = _counted_at(ended)
    return _frame([row], CONCURRENCY)


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


def longest_running(db: Database, *, limit: int = 10) -> pd.DataFrame:
    """The files in processing, oldest claim first.

    Args:
        db: An open database.
        limit: Most rows, >= 1. Defaults to 10.

    Returns:
        | column                | dtype   | unit                     |
        |-----------------------|---------|--------------------------|
        | original_filename     | string  | name at upload           |
        | processing_server_id  | string  | server ID                |
        | processing_started_at | time    | start of the claim, UTC  |
        | minutes_processing    | Float64 | min                      |

        Empty: the same columns, no rows.

    SQL: sql/longest_running.sql
    """
    return _frame(db.run("longest_running", row_limit=_rows(limit)), LONGEST_RUNNING)


def stale(db: Database, *, every: bool = False) -> pd.DataFrame:
    """The claims that cleanup would end or suspects, with the evidence. Reads only: it is no look.

    Args:
        db: An open database; its `stale_after_seconds` judges claims of unknown servers.
        every: The claims that are well, too. Defaults to False.

    Returns:
        | column                                  | dtype   | unit                                      |
        |-----------------------------------------|---------|-------------------------------------------|
        | id                                      | string  | file                                      |
        | original_filename, processing_server_id | string  | name, server ID                           |
        | processing_started_at                   | time    | start of the claim, UTC                   |
        | minutes_processing                      | Float64 | min                                       |
        | minutes_without_progress                | Float64 | min                                       |
        | seconds_since_heartbeat                 | Float64 | s; NA for an unknown server               |
        | processing_attempt, processing_failures | Int64   | attempts                                  |
        | verdict                                 | string  | stale, hung, dead, rebooted: cleanup ends |
        |                                         |         | it; silent, stuck: a second look decides; |
        |                                         |         | alive, unproven: it is well               |
        | would_become                            | string  | failed or queued; NA when it is well      |
        | claim                                   | string  | name of the claim, as `cleanup` takes it  |

        Oldest claim first. Empty: the same columns, no rows.

    SQL: sql/stale.sql
    """
    rows = db.run("stale", stale_after_seconds=db.settings.stale_after_seconds, look_seconds=_LOOK_SECONDS, every=every)
    return _frame(rows, STALE)


def nodes(db: Database) -> pd.DataFrame:
    """The nodes: who is there, what each does, how far it is.

    Args:
        db: An open database.

    Returns:
        | column                        | dtype   | unit                                               |
        |-------------------------------|---------|----------------------------------------------------|
        | server_id                     | string  | server ID                                          |
        | state                         | string  | live, paused, draining, quarantined, silent, dead  |
        |                               |         | or stopped                                         |
        | original_filename             | string  | its file; NA when it has none                      |
        | minutes_processing            | Float64 | min                                                |
        | progress_done, progress_total | Int64   | bytes, or the processor's own steps                |
        | beat_at, started_at           | time    | last heartbeat, start of this boot, UTC            |
        | seconds_since_heartbeat       | Float64 | s                                                  |
        | host, version                 | string  | where it runs and what                             |
        | pid                           | Int64   | process number of its supervisor                   |
        | file_id                       | string  | its file                                           |

        By server ID, stopped ones last. Empty: the same columns, no rows.

    SQL: sql/nodes.sql
    """
    return _frame(db.run("nodes"), NODES)


def throughput(db: Database, *, since_seconds: float = 86400, bucket_seconds: float = 3600) -> pd.DataFrame:
    """How many files ended in each stretch of time, and how long they waited and ran.

    Args:
        db: An open database.
        since_seconds: How far back [s], > 0. Defaults to a day.
        bucket_seconds: Length of a stretch [s], > 0; at most 10,000 of them. Defaults to an hour.

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
    for name, value in (("since_seconds", since_seconds), ("bucket_seconds", bucket_seconds)):
        if not (math.isfinite(value) and value > 0):
            raise SettingError(f"{name} is {value:g}; it must be more than 0")
    if since_seconds / bucket_seconds > _MOST_BUCKETS:
        raise SettingError(f"{since_seconds:g} s hold more than {_MOST_BUCKETS} stretches of {bucket_seconds:g} s")
    return _frame(db.run("throughput", since_seconds=since_seconds, bucket_seconds=bucket_seconds), THROUGHPUT)


def failures(db: Database, *, limit: int = 100, patience_seconds: float | None = None) -> pd.DataFrame:
    """What goes wrong: failed files grouped by their error, with numbers and ids taken out of the text.

    Args:
        db: An open database.
        limit: Most groups, >= 1. Defaults to 100.
        patience_seconds: They may be as of some time in the last minute or two, which `attrs["counted_at"]` says, and
            are waited for so long when they have not been counted yet [s]. Defaults to those of this moment.

    Returns:
        | column                         | dtype  | unit                                          |
        |--------------------------------|--------|-----------------------------------------------|
        | error                          | string | the group, as `requeue(error=…)` takes it     |
        | file_count                     | Int64  | files                                         |
        | last_hour, last_day, last_week | Int64  | files that failed within that time            |
        | latest                         | time   | the newest of them, UTC                       |
        | example                        | string | name of one of them                           |

        Largest group first. Empty: the same columns, no rows.

    Raises:
        StillCountingError: They were not counted within *patience_seconds*.

    SQL: sql/failures.sql
    """
    values = {"row_limit": _rows(limit)}
    if patience_seconds is None:
        return _frame(db.run("failures", **values), FAILURES)

    def count() -> tuple[list[Row], datetime]:
        begun = datetime.now(UTC)
        return db.run_long("failures", seconds=_LONGEST_COUNT_SECONDS, **values), begun

    found = db.kept.read(
        ("failures", limit),
        count,
        lambda found: 10 * sum(row["file_count"] for row in found[0]),  # each costs ten times what a count does
        patience_seconds=patience_seconds,
    )
    if found is None:
        raise StillCountingError
    return _frame(found[0], FAILURES, counted_at=found[1])


def files(
    db: Database, *, status: str = "", server_id: str = "", search: str = "", before: str = "", limit: int = 200
) -> pd.DataFrame:
    """The files by their last event, newest first.

    Args:
        db: An open database.
        status: Only this state: queued, processing, completed, failed, or none for rows without one. Defaults to all
            with one.
        server_id: Only this server's. Defaults to all.
        search: Only files whose name contains this, in any case, among the newest `SEARCH_ROWS` of each state; and the
            file whose id this is, however old. Defaults to all.
        before: Only what comes after this file, as `place` names it. Defaults to the newest on.
        limit: Most rows, >= 1. Defaults to 200.

    Returns:
        | column                                  | dtype  | unit                                               |
        |-----------------------------------------|--------|----------------------------------------------------|
        | id                                      | string | file                                               |
        | original_filename                       | string | name at upload                                     |
        | processing_status, processing_server_id | string | state, server ID                                   |
        | last_at                                 | time   | when it was queued, claimed or ended, UTC; NA: an  |
        |                                         |        | older processor did not say when                   |
        | file_size                               | Int64  | bytes                                              |
        | processing_attempt, processing_failures | Int64  | attempts                                           |
        | processing_errors                       | string | what went wrong last                               |

        Newest first; rows without a status by their upload. Empty: the same columns, no rows.

    Raises:
        SettingError: *before* is no such place.

    SQL: sql/files_list.sql
    """
    at, slash, id = before.partition("/")
    if before and not (slash and id and _PLACE.fullmatch(at)):
        raise SettingError(f"{before!r} is no place in the list of files")
    rows = db.run(
        "files_list",
        status=status,
        server_id=server_id,
        search=search,
        ids=[search] if search and _may_be_an_id(db, search) else [],
        search_rows=SEARCH_ROWS,
        before_at=at,
        before_id=id,
        row_limit=_rows(limit),
    )
    return _frame(rows, FILES)


_INTEGERS = {"smallint": 15, "integer": 31, "bigint": 63}


def _may_be_an_id(db: Database, text: str) -> bool:
    """Whether the table's ids can be such a text: PostgreSQL refuses one that its type does not know."""
    kind = next((row["data_type"] for row in db.run("columns") if row["column_name"] == "id"), "")
    if kind in _INTEGERS:
        return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 2 ** _INTEGERS[kind]
    if kind == "uuid":
        try:
            return bool(uuid.UUID(text))
        except ValueError:
            return False
    return kind in ("text", "character varying")


def place(file: Mapping[Any, Any]) -> str:
    """Where a row of `files` stands in the list, for `before`."""
    at = file["last_at"]
    return f"{'-infinity' if at is None or pd.isna(at) else at.isoformat()}/{file['id']}"


def events(
    db: Database, *, file_id: str = "", kind: str = "", server_id: str = "", before: int | None = None, limit: int = 100
) -> pd.DataFrame:
    """The history: ends of attempts and what operators did.

    Args:
        db: An open database.
        file_id: Only this file's. Defaults to all.
        kind: Only this kind: attempt, requeue, pause, resume, state, boot, stop, adopt, migrate. Defaults to all.
        server_id: Only this server's. Defaults to all.
        before: Only events before this one, by its id. Defaults to the newest on.
        limit: Most rows, >= 1. Defaults to 100.

    Returns:
        | column                     | dtype  | unit                                                 |
        |----------------------------|--------|------------------------------------------------------|
        | id                         | Int64  | number of the event                                  |
        | at, started_at             | time   | when it was; start of the attempt it ends, UTC       |
        | kind, outcome, next_status | string | what happened, how it ended, the state that followed |
        | file_id, server_id, token  | string | whose                                                |
        | attempt                    | Int64  | number of the attempt                                |
        | reason, actor              | string | why and who                                          |

        Newest first. Empty: the same columns, no rows.

    SQL: sql/events.sql, sql/events_before.sql
    """
    if before is None and not server_id:
        return _frame(db.run("events", file_id=file_id, kind=kind, row_limit=_rows(limit)), EVENTS)
    start = "" if before is None else before
    rows = db.run(
        "events_before", file_id=file_id, kind=kind, server_id=server_id, before=start, row_limit=_rows(limit)
    )
    return _frame(rows, EVENTS)


def pauses(db: Database) -> pd.DataFrame:
    """What is paused, since when, by whom and why.

    Args:
        db: An open database.

    Returns:
        | column        | dtype  | unit                       |
        |---------------|--------|----------------------------|
        | scope         | string | server ID, or * for all    |
        | at            | time   | since when, UTC            |
        | actor, reason | string | who and why                |

        Empty: the same columns, no rows.

    SQL: sql/pauses.sql
    """
    return _frame(db.run("pauses"), PAUSES)


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

        Oldest start first. Empty: the same columns, no rows.

    Raises:
        SettingError: The window cannot be used.

    SQL: sql/timeline.sql; names of files from sql/filenames.sql
    """
    for name, value in (("since_seconds", since_seconds), ("until_seconds", until_seconds)):
        if not (math.isfinite(value) and value >= 0):
            raise SettingError(f"{name} is {value:g}; it must be at least 0")
    if since_seconds <= until_seconds:
        raise SettingError(f"a window from {since_seconds:g} s to {until_seconds:g} s ago holds nothing")
    rows = db.run("timeline", since_seconds=since_seconds, until_seconds=until_seconds, row_limit=_rows(limit))
    # Events hold ids as text, the table may hold numbers: their names are asked for by the ids' own type.
    nameless = {row["file_id"] for row in rows if row["file_id"] and row["original_filename"] is None}
    if nameless:
        names = {row["id"]: row["original_filename"] for row in db.run("filenames", ids=sorted(nameless))}
        for row in rows:
            row["original_filename"] = row["original_filename"] or names.get(row["file_id"])
    return _frame(rows, TIMELINE)


def evidence(db: Database) -> pd.DataFrame:
    """What speaks for and against each claim, beside the verdict of `stale`.

    Args:
        db: An open database.

    Returns:
        | column                        | dtype   | unit                                                           |
        |-------------------------------|---------|----------------------------------------------------------------|
        | claim                         | string  | name of the claim, as `stale` and `cleanup` have it            |
        | server_id                     | string  | who holds it                                                   |
        | moved_at                      | time    | when the file last moved, UTC                                  |
        | progress_done, progress_total | Int64   | bytes, or the processor's own steps                            |
        | beat_at, lease_until          | time    | last heartbeat of its node, end of its lease, UTC; NA: unknown |
        | lease_seconds                 | Float64 | s, the node's own                                              |
        | stale_after_seconds           | Float64 | s, the node's own                                              |
        | host, pid                     | string, Int64 | where its node runs                                      |
        | stopped_at, booted_at         | time    | when its node said good-bye, or started again since; NA: not   |
        | suspected_at                  | time    | when a first look saw the same, UTC; NA: none did              |
        | sessions                      | Int64   | database sessions of the claim's boot; NA: cannot be told      |

        Oldest claim first. Empty: the same columns, no rows.

    SQL: sql/evidence.sql
    """
    return _frame(db.run("evidence"), EVIDENCE)


STATISTICS: dict[str, Callable[..., pd.DataFrame]] = {
    "concurrency": concurrency,
    "distribution": distribution,
    "longest-running": longest_running,
    "stale": stale,
    "nodes": nodes,
    "throughput": throughput,
    "failures": failures,
    "files": files,
    "events": events,
    "pauses": pauses,
    "timeline": timeline,
}
"""The statistics by the name that shell and HTTP give them."""


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's rows as JSON knows them: None for what is missing, times as `iso` writes them."""
    names = [str(name) for name in frame.columns]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def iso(moment: datetime | None) -> str | None:
    """A time as text in UTC, with milliseconds: 2026-11-23T12:00:00.000Z. A naive one means UTC."""
    if moment is None:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, datetime):
        return iso(value)
    return value.item() if hasattr(value, "item") else value


def _ended(db: Database, patience_seconds: float) -> list[Row] | None:
    """What `sql/ended.sql` answers, perhaps as of a minute ago; None when it is quick, or was not counted in time."""
    if db.kept.quick("ended"):
        return None
    return db.kept.read(
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
    db.kept.note("ended", seconds=time.monotonic() - begun, size=counted)
    return rows, moment


def _counted_at(ended: list[Row] | None) -> datetime | None:
    return ended[0]["counted_at"] if ended else None


def _frame(rows: list[Row], columns: Mapping[str, str], **attrs: object) -> pd.DataFrame:
    # Through object: pandas must not guess a dtype that depends on the rows, such as float for 1 and None.
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object).astype(dict(columns))
    # As text: Arrow writes a frame's attributes as JSON.
    for name, value in attrs.items():
        frame.attrs[name] = value.isoformat() if isinstance(value, datetime) else value
    return frame


def _rows(limit: int) -> int:
    if not 1 <= limit <= _MOST_ROWS:
        raise SettingError(f"the limit is {limit}; it must be at least 1")
    return limit
