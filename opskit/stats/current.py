"""What goes on now: the nodes, the claims they hold, which of those are stale and on what evidence, what is paused."""

from __future__ import annotations

import pandas as pd

from opskit.database import Database
from opskit.errors import StillCountingError
from opskit.queue import lanes as laning
from opskit.stats.catalog import STATISTICS
from opskit.stats.columns import EVIDENCE
from opskit.stats.frames import frame_of, read


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
    return read(STATISTICS["longest-running"], db, limit=limit)


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
    empty = "no claims" if every else "nothing is stale: every claim is worked on"
    return read(STATISTICS["stale"], db, every=every, empty=empty)


def evidence(db: Database) -> pd.DataFrame:
    """The evidence for and against each claim, beside the verdict of `stale`.

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
    return frame_of(db.run("evidence"), EVIDENCE, empty="no claims")


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
        | memory_bytes                  | Int64   | of its processes; NA where it does not say         |
        | file_id                       | string  | its file                                           |
        | lanes                         | string  | which lanes it takes; NA: all                      |
        | lane                          | string  | that of its file; NA: none                         |

        By server ID, stopped ones last. Empty: the same columns, no rows.

    SQL: sql/nodes.sql
    """
    return read(STATISTICS["nodes"], db)


def node_work(db: Database, *, since_seconds: float = 3600) -> pd.DataFrame:
    """The recent work of each node, and its last failure.

    Args:
        db: An open database.
        since_seconds: How far back its files are counted [s], > 0. Defaults to an hour.

    Returns:
        | column            | dtype  | unit                                                          |
        |-------------------|--------|---------------------------------------------------------------|
        | server_id         | string | server ID                                                     |
        | completed, failed | Int64  | files that ended under it in that time                        |
        | bad_attempts      | Int64  | its attempts that went wrong then, those tried again as well; |
        |                   |        | of its newest 1000 events                                     |
        | last_error        | string | of its newest bad attempt, the last 500 letters; NA: none     |
        | last_error_at     | time   | when that was, UTC                                            |

        By server ID. Empty: the same columns, no rows.

    Raises:
        SettingError: A length cannot be used.

    SQL: sql/node_work.sql
    """
    return read(STATISTICS["node-work"], db, since_seconds=since_seconds)


def lanes(db: Database, *, limit: int = 1000, patience_seconds: float | None = None) -> pd.DataFrame:
    """The lanes that have files queued or in processing, longest queue first.

    Args:
        db: An open database.
        limit: Most lanes, >= 1. Defaults to 1000.
        patience_seconds: They may be as of some time in the last minute or two, and are waited for so long when they
            have not been counted yet [s]. Defaults to those of this moment.

    Returns:
        | column                | dtype   | unit                                                            |
        |-----------------------|---------|-----------------------------------------------------------------|
        | lane                  | string  | the value of the lanes' column; NA: files without one           |
        | queued                | Int64   | files                                                           |
        | due                   | Int64   | of them: not waiting for a retry or a time in the future        |
        | processing            | Int64   | files                                                           |
        | oldest_queued_seconds | Float64 | s since the oldest came; NA when none is queued                 |

        Empty: the same columns, no rows; also where lanes are off.

    SQL: sql/lanes.sql
    """
    if patience_seconds is None or laning.known(db) is None:
        return read(STATISTICS["lanes"], db, limit=limit)
    frame = db.cache.read(
        ("lanes", limit),
        lambda: read(STATISTICS["lanes"], db, limit=limit),
        lambda found: int(found["queued"].sum()),
        patience_seconds=patience_seconds,
    )
    if frame is None:
        raise StillCountingError
    return frame.copy()


def pauses(db: Database) -> pd.DataFrame:
    """The pauses: scope, since when, by whom and why.

    Args:
        db: An open database.

    Returns:
        | column        | dtype  | unit                       |
        |---------------|--------|----------------------------|
        | scope         | string | server ID, * for all, or   |
        |               |        | breaker                    |
        | at            | time   | since when, UTC            |
        | actor, reason | string | who and why                |
        | kind          | string | pause, or breaker: nodes   |
        |               |        | opened it for an error     |

        Empty: the same columns, no rows.

    SQL: sql/pauses.sql
    """
    return read(STATISTICS["pauses"], db)
