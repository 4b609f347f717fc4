"""Every statistic once: what shell, API, page, notebooks and documentation know of it.

A new statistic is one file in `sql/` and one entry in `STATISTICS`. This module loads no pandas: the shell reads rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opskit.database import Database, queries
from opskit.database.session import Row
from opskit.queue import lanes
from opskit.queue.reaper import LOOK_SECONDS
from opskit.stats import columns, list_rows
from opskit.stats.columns import Kind

if TYPE_CHECKING:
    import pandas as pd

_LONGEST_SECONDS = 366 * 86400


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a statistic can be asked for.

    Attributes:
        name: As Python calls it, such as since_seconds; HTTP calls it sinceSeconds, the SQL's variable has its name.
        usual: Its default, of the parameter's type.
        bounds: Of a number that HTTP takes: gt, ge, le, as pydantic calls them.
        help: What it means, where its name does not say it.
    """

    name: str
    usual: Any
    bounds: Mapping[str, float] = field(default_factory=dict)
    help: str = ""

    @property
    def variable(self) -> str:
        """The SQL's variable: LIMIT is a word of SQL, and `lane` is the column of the lanes."""
        return {"limit": "row_limit", "lane": "of_lane"}.get(self.name, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One statistic. Called with an open database, and its parameters by name, it is a DataFrame.

    Attributes:
        name: As Python calls it; shell and HTTP write - for _.
        sentence: What it is.
        columns: Their names and kinds.
        sql: The files of `sql/`, the one that gives the rows last. Defaults to that of its name.
        parameters: What it can be asked for.
        first: The columns that a narrow terminal shows, the most needed first. Defaults to all in their order.
        empty: What an answer without rows means.
        cut: What the first rows are, where there are more than the limit.
        page: The view of the page that shows the same; "" for none.
        path: Its place under /api/processing. Defaults to its name.
        one_row: It has one row, always.
        counts_what_ended: It may take long; whoever serves many readers gives patience_seconds.
        made_by: What makes its rows of several statements. Defaults to none: they are those of its SQL.
        sql_of_lane: The file of `sql/` that gives the rows of one lane, where it is another.
        lane_of: The column that names a file: where the table has lanes, the file's lane stands beside it.
        known: What has to be known first; when that answers None, there are no rows.
    """

    name: str
    sentence: str
    columns: Mapping[str, Kind]
    sql: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    first: tuple[str, ...] = ()
    empty: str = "no rows"
    cut: str = "first rows"
    page: str = ""
    path: str = ""
    one_row: bool = False
    counts_what_ended: bool = False
    made_by: Callable[..., list[Row]] | None = None
    sql_of_lane: str = ""
    lane_of: str = ""
    known: Callable[[Database], object] | None = None

    @property
    def words(self) -> str:
        """Its name as shell and HTTP write it."""
        return self.name.replace("_", "-")

    @property
    def files(self) -> tuple[str, ...]:
        """Its files of `sql/`."""
        return self.sql or (self.name,)

    def files_for(self, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Its files of `sql/` when it is asked for these."""
        return (self.sql_of_lane,) if self.sql_of_lane and given.get("lane") else self.files

    @property
    def usual(self) -> dict[str, Any]:
        """Its parameters with their defaults."""
        return {parameter.name: parameter.usual for parameter in self.parameters}

    def rows(self, db: Database, **given: Any) -> list[Row]:
        """Its rows, without pandas.

        Args:
            db: An open database; its `stale_after_seconds` judges claims of unknown servers.
            given: Its parameters by name.
        """
        if "limit" in given:
            list_rows.most(given["limit"])
        if self.made_by is not None:
            rows = self.made_by(db, **given)
            with_lane = self.lane_of and lanes.known(db) is not None
            names = [*self.columns, "lane"] if with_lane else list(self.columns)
            return [{name: row[name] for name in names} for row in rows]
        if self.known is not None and self.known(db) is None:
            return []
        lanes.of_lane(db, given.get("lane", ""))
        name = self.files_for(given)[-1]
        used = queries.statement(name).values
        judged = {"stale_after_seconds": db.settings.stale_after_seconds, "look_seconds": LOOK_SECONDS}
        asked = {parameter.variable: given.get(parameter.name, parameter.usual) for parameter in self.parameters}
        values = {name: value for name, value in (judged | asked).items() if name in used}
        return lanes.beside(db, db.run(name, **values), self.lane_of)

    def __call__(self, db: Database, **given: Any) -> pd.DataFrame:
        """Its rows as a frame.

        Args:
            db: An open database.
            given: Its parameters by name.

        Raises:
            SettingError: A parameter cannot be used.
        """
        own = getattr(importlib.import_module("opskit.stats"), self.name)
        frame: pd.DataFrame
        if own is self:
            frame = importlib.import_module("opskit.stats.frames").read(self, db, **given)
        else:
            frame = own(db, **given)
        return frame


def _limit(usual: int) -> Parameter:
    return Parameter("limit", usual, {"ge": 1, "le": 10_000}, "Most rows.")


def _since(usual: float) -> Parameter:
    return Parameter("since_seconds", usual, {"gt": 0, "le": _LONGEST_SECONDS}, "How far back [s].")


_LANE = Parameter("lane", "", help="Only files of this lane; (none): without one.")


def _whether_lanes(db: Database) -> object:
    # Never None: there are rows without lanes, too, but the SQL has to be told whether there is such a column.
    return lanes.known(db) or ()


_ALL = (
    Statistic(
        name="concurrency", sentence="The numbers of the moment", columns=columns.CONCURRENCY,
        path="concurrency-stats", one_row=True, counts_what_ended=True,
    ),
    Statistic(
        name="distribution", sentence="Files per server and state", columns=columns.DISTRIBUTION,
        parameters=(_LANE,), sql_of_lane="distribution_of_lane", empty="no files yet", counts_what_ended=True,
    ),
    Statistic(
        name="longest_running", sentence="The files in processing, oldest claim first",
        columns=columns.LONGEST_RUNNING, parameters=(_limit(10),),
        empty="nothing is being processed", cut="oldest claims",
    ),
    Statistic(
        name="lanes", sentence="The lanes that have files queued or in processing", columns=columns.LANES,
        parameters=(_limit(1000),), empty="no lane has files queued or in processing", cut="longest queues",
        counts_what_ended=True, known=lanes.known,
    ),
    Statistic(
        name="lane_work", sentence="What became of each lane's files lately, and how long they waited and ran",
        columns=columns.LANE_WORK, parameters=(_since(3600.0), _limit(1000)),
        empty="nothing has ended in this time", cut="lanes with the most files", known=lanes.known,
        first=("lane", "ended", "failed", "wait_p95_seconds", "mean_run_seconds", "share"),
    ),
    Statistic(
        name="stale", sentence="Claims that cleanup would end or suspects, with the evidence", columns=columns.STALE,
        parameters=(Parameter("every", False, help="The claims that are well, too."),), page="cleanup", lane_of="id",
        first=("original_filename", "processing_server_id", "minutes_processing", "verdict", "would_become",
               "minutes_without_progress", "id"),
    ),
    Statistic(
        name="nodes", sentence="The nodes: who is there, what each does, how far it is", columns=columns.NODES,
        empty="no nodes are registered", page="nodes", known=_whether_lanes,
        first=("server_id", "state", "original_filename", "minutes_processing", "seconds_since_heartbeat", "host"),
    ),
    Statistic(
        name="node_work", sentence="What each node has done lately, and what went wrong on it last",
        columns=columns.NODE_WORK, parameters=(_since(3600.0),), empty="no nodes are registered",
        first=("server_id", "completed", "failed", "bad_attempts", "last_error"),
    ),
    Statistic(
        name="forecast", sentence="When the queue will be empty, by what came and what ended in the last hour",
        columns=columns.FORECAST, one_row=True,
    ),
    Statistic(
        name="throughput", sentence="How many files ended in each stretch of time", columns=columns.THROUGHPUT,
        parameters=(_since(86400.0),
                    Parameter("bucket_seconds", 3600.0, {"ge": 1, "le": _LONGEST_SECONDS}, "Length of a stretch [s]."),
                    _LANE),
        empty="nothing has ended in this time",
    ),
    Statistic(
        name="trends", sentence="What became of the files in each stretch of time: ended, failed, waits and runs",
        columns=columns.TRENDS,
        parameters=(_since(3600.0),
                    Parameter("bucket_seconds", 60.0, {"ge": 1, "le": _LONGEST_SECONDS}, "Length of a stretch [s]."),
                    Parameter("before_seconds", 86400.0, {"ge": 1, "le": _LONGEST_SECONDS},
                              "ended_before is of the same stretch so long before [s].")),
        first=("bucket_start", "ended", "failed", "ended_before", "run_p95_seconds", "wait_p95_seconds"),
    ),
    Statistic(
        name="marks", sentence="What may have changed the trends: pauses, cleanups, deploys, requeues of many files",
        columns=columns.MARKS, parameters=(_since(86400.0), _limit(100)),
        empty="nothing was done in this time", cut="newest marks",
        first=("at", "kind", "what", "file_count", "server_id", "actor", "reason"),
    ),
    Statistic(
        name="failures", sentence="Failed files grouped by their error", columns=columns.FAILURES,
        parameters=(_limit(100), _LANE), empty="no file has failed", cut="largest groups", page="failures",
        counts_what_ended=True,
    ),
    Statistic(
        name="files", sentence="The files by their last event, newest first, in pages", columns=columns.FILES,
        sql=("files_list",), made_by=list_rows.files, page="files",
        parameters=(Parameter("status", ""), Parameter("server_id", ""), Parameter("search", ""), _LANE, _limit(200)),
        first=("id", "original_filename", "processing_status", "processing_errors", "last_at", "processing_server_id"),
    ),
    Statistic(
        name="events", sentence="The history: ends of attempts and what operators did, newest first, in pages",
        columns=columns.EVENTS, made_by=list_rows.events, page="history",
        parameters=(Parameter("file_id", ""), Parameter("kind", ""), Parameter("server_id", ""), _LANE, _limit(100)),
        lane_of="file_id",
        first=("at", "kind", "outcome", "file_id", "reason", "actor", "server_id", "next_status"),
    ),
    Statistic(
        name="acts", sentence="What was done, newest first: one row an act, and what would undo it",
        columns=columns.ACTS, sql=("filenames", "acts"), made_by=list_rows.acts, page="history",
        parameters=(_limit(100),), empty="nothing was done yet",
        first=("act", "at", "kind", "actor", "file_count", "files", "reason", "undo", "server_ids"),
    ),
    Statistic(
        name="pauses", sentence="What is paused, since when, by whom and why", columns=columns.PAUSES,
        empty="nothing is paused",
    ),
    Statistic(
        name="timeline", sentence="Attempts as bars, and what happened to nodes as marks", columns=columns.TIMELINE,
        sql=("filenames", "timeline"), made_by=list_rows.timeline, page="timeline",
        parameters=(_since(3600.0),
                    Parameter("until_seconds", 0.0, {"ge": 0, "le": _LONGEST_SECONDS}, "Its end, so long ago [s]."),
                    _limit(2000)),
        lane_of="file_id",
        first=("started_at", "server_id", "original_filename", "outcome", "ended_at", "kind", "attempt", "reason"),
    ),
)  # fmt: skip
STATISTICS: dict[str, Statistic] = {one.words: one for one in _ALL}
"""The statistics by the name that shell and HTTP give them."""
