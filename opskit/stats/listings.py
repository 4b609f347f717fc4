"""Long lists, newest first: the files, the history of what happened to them, and the acts that it tells of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from opskit.database import Database
from opskit.queue import attempt_logs
from opskit.stats import list_rows
from opskit.stats.catalog import STATISTICS
from opskit.stats.columns import ACTS, FILES, LOGS
from opskit.stats.frames import cut_frame, frame_of, on_page, with_lane
from opskit.stats.list_rows import most


def files(
    db: Database,
    *,
    status: str = "",
    server_id: str = "",
    search: str = "",
    lane: str = "",
    before: str = "",
    limit: int = 200,
) -> pd.DataFrame:
    """The files by their last event, newest first.

    Args:
        db: An open database.
        status: Only this state: queued, processing, completed, failed, or none for rows without one. Defaults to all
            with one.
        server_id: Only this server's. Defaults to all.
        search: Only files whose name contains this, in any case, among the newest `SEARCH_ROWS` of each state; and the
            file whose id this is, however old. Defaults to all.
        lane: Only files of this lane, among as many; "(none)" for those without one. Defaults to all.
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
        | lane                                    | string | the value of the lanes' column; NA: none           |

        Newest first; rows without a status by their upload. Empty: the same columns, no rows. `attrs["more"]` says
        whether there are more than *limit*.

    Raises:
        SettingError: *before* is no such place.

    SQL: sql/files_list.sql
    """
    rows = list_rows.files(
        db, status=status, server_id=server_id, search=search, lane=lane, before=before, limit=most(limit) + 1
    )
    page = on_page(db, "files", state=status, server=server_id, search=search, lane=lane)
    return cut_frame(rows, FILES, limit, "newest files", empty="no such files", **page)


def place(file: Mapping[Any, Any]) -> str:
    """Where a row of `files` stands in the list, for `before`."""
    at = file["last_at"]
    return f"{'-infinity' if at is None or pd.isna(at) else at.isoformat()}/{file['id']}"


def events(
    db: Database,
    *,
    file_id: str = "",
    kind: str = "",
    server_id: str = "",
    lane: str = "",
    before: int | None = None,
    limit: int = 100,
) -> pd.DataFrame:
    """The history: ends of attempts and what operators did.

    Args:
        db: An open database.
        file_id: Only this file's. Defaults to all.
        kind: Only this kind: attempt, requeue, cancel, expedite, pause, resume, state, boot, stop, adopt, migrate,
            watch, breaker, forget. Defaults to all.
        server_id: Only this server's. Defaults to all.
        lane: Only events of files of this lane, among the newest `SEARCH_ROWS`; "(none)" for those without one.
            Defaults to all.
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
        | lane                       | string | that of the file, as it is now; only where the table |
        |                            |        | has lanes                                            |

        Newest first. Empty: the same columns, no rows. `attrs["more"]` says whether there are more than *limit*.

    SQL: sql/events.sql, sql/events_before.sql; lanes from sql/lanes_of_files.sql
    """
    rows = list_rows.events(
        db, file_id=file_id, kind=kind, server_id=server_id, lane=lane, before=before, limit=most(limit) + 1
    )
    page = on_page(db, "file", id=file_id) if file_id else on_page(db, "history", lane=lane)
    shown = with_lane(db, STATISTICS["events"])
    return cut_frame(rows, shown, limit, "newest events", empty="nothing of that kind has happened", **page)


def acts(db: Database, *, limit: int = 100) -> pd.DataFrame:
    """The acts, newest first: one row an act, however many files or nodes it changed.

    Events of one kind, by one actor, for one reason are one act while no more than 10 seconds lie between two of them.

    Args:
        db: An open database.
        limit: Most rows, >= 1. Defaults to 100.

    Returns:
        | column                  | dtype   | unit                                                               |
        |-------------------------|---------|--------------------------------------------------------------------|
        | act                     | Int64   | number of its last event: what `queue.undo` takes                  |
        | at                      | time    | when it began, UTC                                                 |
        | kind                    | string  | requeue, cancel, expedite, cleanup, pause, resume, state, adopt,   |
        |                         |         | migrate or forget                                                  |
        | actor, reason           | string  | who and why                                                        |
        | by_node                 | boolean | a node did it by itself                                            |
        | event_count, file_count | Int64   | how many events it left, and of how many files                     |
        | files                   | string  | the names of the first five, and how many more                     |
        | server_ids              | string  | the first five of its nodes; * for all                             |
        | changed                 | string  | how many went from which state to which                            |
        | undo                    | string  | requeue or resume; NA: nothing would undo it, or nothing is left   |

        Empty: the same columns, no rows. `attrs["more"]` says whether there are more than *limit*.

    SQL: sql/acts.sql; names of files from sql/filenames.sql
    """
    rows = list_rows.acts(db, limit=most(limit) + 1)
    return cut_frame(rows, ACTS, limit, "newest acts", empty="nothing was done yet", **on_page(db, "history"))


def logs(db: Database, id: str, *, after: attempt_logs.Place | None = None) -> pd.DataFrame:
    """The output of a file's attempts: stdout, stderr and log records, oldest first.

    Args:
        db: An open database.
        id: The file.
        after: The place of the last piece read before. Defaults to the beginning.

    Returns:
        | column    | dtype  | unit                                                            |
        |-----------|--------|-----------------------------------------------------------------|
        | attempt   | Int64  | which attempt, from 1                                           |
        | token     | string | its claim                                                       |
        | server_id | string | the node                                                        |
        | sequence  | Int64  | place of the first byte in all that the attempt has said, bytes |
        | at        | time   | when it was kept, UTC                                           |
        | text      | string | what it says                                                    |
        | size      | Int64  | how long it was, bytes                                          |
        | left_out  | Int64  | what is not kept before it, bytes                               |

        At most `attempt_logs.MOST_CHUNKS` rows. Empty: the same columns, no rows.

    SQL: sql/logs.sql
    """
    found = attempt_logs.read(db, id, after=after)
    return frame_of([dataclasses.asdict(each) for each in found], LOGS)
