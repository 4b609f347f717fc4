"""What the pages share: one database and one set of readings for all tabs, and what is said when it is away."""

from __future__ import annotations

import dataclasses
import functools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from opskit import doctor, queue, stats
from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import DatabaseUnavailableError, OpskitError
from opskit.queue import lanes, row_content, searching
from opskit.queue.error_lines import last_line
from opskit.settings import Settings
from opskit.support.visible import directions_shown
from opskit.web.dashboard import fleets
from opskit.web.dashboard.markdown import escaped

if TYPE_CHECKING:
    from pandas import DataFrame

TICK_SECONDS = 4.0
"""How often the live parts of a page are drawn anew: a database that is away is seen within five seconds [s]."""
FRESH_SECONDS = 3.5
"""How old a reading may be before it is taken again: less than a tick, so that many tabs cost what one does [s]."""
STATEMENT_SECONDS = 5.0
"""Longest time a statement of the page may take [s]."""
SLOW_SECONDS = 0.05
"""A reading that takes longer is taken behind the scenes, while the page shows the last one [s]."""
SELDOM_SECONDS = 10.0
"""How often the whole doctor is asked by a page that ticks [s]."""
PATIENCE_SECONDS = 1.0
"""How long a page waits for the first count of what has ended, before it is drawn without that [s]."""
PROBE_SECONDS = 0.5
"""How long an unreachable database is left alone before it is asked again [s]."""
_REMEMBERED = 200
OURS = re.compile("id|original_filename|storage_path|file_size|uploaded_at|deleted|processing_.*")
"""The columns that the page shows anyway."""


def _claims(db: Database, *, look: bool) -> list[Row]:
    """Every claim as the reaper judges it; whoever may only read takes no look."""
    return queue.preview(db, look=look, every=True)


def _examined(db: Database) -> list[Row]:
    """What the doctor finds."""
    return [finding.facts() for finding in doctor.examine(db)]


def _file(db: Database, *, file_id: str) -> list[Row]:
    """The file, if there is one with this id."""
    found = row_content.file(db, file_id)
    return [] if found is None else [found]


def _own_columns(db: Database, *, file_id: str) -> list[Row]:
    """The application's own columns of a file that OPSKIT_SHOW_COLUMNS names."""
    names = db.settings.shown_columns
    found = {} if names == () else row_content.columns(db, file_id, names)
    return [{name: value for name, value in found.items() if names or not OURS.fullmatch(name)}]


def _found_files(db: Database, *, text: str, status: str, server_id: str, limit: int) -> list[Row]:
    """What a search finds in the whole table."""
    names = db.settings.shown_columns
    known = tuple(row["column_name"] for row in db.run("all_columns")) if names is None else names
    wanted = searching.understood(text, known)
    wanted = dataclasses.replace(wanted, status=status or wanted.status, server_id=server_id or wanted.server_id)
    return searching.found(db, wanted, limit=limit)


def _failed_files(db: Database, *, error: str, since_seconds: str, limit: int, lane: str) -> list[Row]:
    """The failed files of one group."""
    of_lane = lanes.of_lane(db, lane)
    return db.run("failed_files", error=error, since_seconds=since_seconds, of_lane=of_lane, row_limit=limit)


def _failure_trend(db: Database, *, lane: str) -> list[Row]:
    """When the files of each group failed, by the hour."""
    return db.run("failure_trend", of_lane=lanes.of_lane(db, lane))


def _statistic(one: stats.Statistic) -> Callable[..., Any]:
    return functools.partial(one, patience_seconds=PATIENCE_SECONDS) if one.counts_what_ended else one


STATISTICS: dict[str, Callable[..., Any]] = {one.name: _statistic(one) for one in stats.STATISTICS.values()} | {
    "failures": functools.partial(stats.failures, patience_seconds=STATEMENT_SECONDS),
    "evidence": stats.evidence,
    "claims": _claims,
    "doctor": _examined,
    "act": lambda db, *, act: db.run("act", act=act),
    "filenames": lambda db, *, ids: db.run("filenames", ids=list(ids)),
    "event": lambda db, *, event_id: db.run("event", event_id=event_id),
    "failed_files": _failed_files,
    "failure_trend": _failure_trend,
    "file": _file,
    "own_columns": _own_columns,
    "logs": lambda db, *, file_id: stats.logs(db, file_id),
    "found_files": _found_files,
    "node_said": lambda db, *, server_id, row_limit: db.run("node_said", server_id=server_id, row_limit=row_limit),
}
"""What a page may read, by name; `sources.py` says of each where else the same numbers are had."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the database said last.

    Attributes:
        frame: The numbers, or plain rows; None when there have been none yet.
        taken_at: When they were read.
        error: Why there are no newer ones.
        name: Which statistic.
        values: What it was asked with.
    """

    frame: DataFrame | list[Row] | None
    taken_at: datetime
    error: OpskitError | None = None
    name: str = ""
    values: tuple[tuple[str, object], ...] = ()

    @property
    def counted_at(self) -> datetime | None:
        """When what takes long to count was counted, where the statistic says so; None: not yet."""
        return None if self.frame is None or isinstance(self.frame, list) else stats.counted_at(self.frame)

    def rows(self) -> list[dict[str, Any]]:
        """The numbers as plain rows, missing ones as None."""
        if self.frame is None or isinstance(self.frame, list):
            return self.frame or []
        names = [str(name) for name in self.frame.columns]
        # Measured for one row of 27 columns: 0.3 ms, and 11 ms by astype() and where().
        plain = self.frame.to_numpy(dtype=object, na_value=None)  # type: ignore[arg-type]  # the stubs know no None
        return [dict(zip(names, row, strict=True)) for row in plain.tolist()]


@dataclass(slots=True)
class _Memory:
    """The last good readings, and whether the database is known to be away."""

    known: dict[object, Reading] = field(default_factory=dict)
    cost: dict[object, float] = field(default_factory=dict)
    failed_at: float = -1e9
    failure: DatabaseUnavailableError | None = None
    forgotten: int = 0

    def keep(self, key: object, reading: Reading) -> Reading:
        self.failure = None
        self.known[key] = reading
        while len(self.known) > _REMEMBERED:
            oldest = next(iter(self.known))
            self.known.pop(oldest, None)
            self.cost.pop(oldest, None)
        return reading

    def last(self, key: object, error: OpskitError) -> Reading:
        if isinstance(error, DatabaseUnavailableError) and error is not self.failure:
            self.failed_at, self.failure = time.monotonic(), error
        last = self.known.get(key) or Reading(None, datetime.now(UTC))
        return dataclasses.replace(last, error=error)


def settings() -> Settings:
    """The settings of this tab's fleet."""
    return fleets.known()[fleets.current()]


def database() -> Database:
    """The database of this tab's fleet, one for all its tabs."""
    return _database(fleets.current())


@st.cache_resource(show_spinner=False, on_release=Database.close)
def _database(fleet: str) -> Database:
    return Database(fleets.known()[fleet], statement_seconds=STATEMENT_SECONDS)


def _memory() -> _Memory:
    return _memory_of(fleets.current())


@st.cache_resource(show_spinner=False)
def _memory_of(fleet: str) -> _Memory:  # one for each
    return _Memory()


# In the foreground: behind the scenes Streamlit would hand out what is up to twice as old.
@st.cache_resource(ttl=FRESH_SECONDS, show_spinner=False, max_entries=_REMEMBERED)
def _reading(fleet: str, name: str, values: tuple[tuple[str, object], ...]) -> Reading:
    return _taken(fleet, name, values)


# Streamlit hands out an entry for twice its ttl while it is renewed: more than a tick here, less than one above.
@st.cache_resource(ttl=TICK_SECONDS, refresh_mode="background", show_spinner=False, max_entries=_REMEMBERED)
def _slow_reading(fleet: str, name: str, values: tuple[tuple[str, object], ...]) -> Reading:
    # That it is slow was learnt by taking it a moment ago: nobody has to wait for the same again.
    last = _memory_of(fleet).known.get((name, values))
    young = last is not None and (datetime.now(UTC) - last.taken_at).total_seconds() < TICK_SECONDS
    return last if last is not None and young else _taken(fleet, name, values)


@st.cache_resource(ttl=SELDOM_SECONDS, refresh_mode="background", show_spinner=False, max_entries=_REMEMBERED)
def _seldom_reading(fleet: str, name: str) -> Reading:
    return _taken(fleet, name, ())


def _taken(fleet: str, name: str, values: tuple[tuple[str, object], ...]) -> Reading:
    """A reading of this moment; what was last known, with the reason, when there is none."""
    memory, key, began = _memory_of(fleet), (name, values), time.monotonic()
    try:
        # One reading waits for the database that is away; the others of the page need not.
        if memory.failure is not None and time.monotonic() - memory.failed_at < PROBE_SECONDS:
            raise memory.failure
        frame = STATISTICS[name](_database(fleet), **dict(values))
        memory.cost[key] = time.monotonic() - began
        if memory.failure is not None:
            _slow_reading.clear()
        return memory.keep(key, Reading(frame, datetime.now(UTC), name=name, values=values))
    except OpskitError as error:
        return memory.last(key, error)


def read(name: str, /, **values: object) -> Reading:
    """One statistic, read once for all tabs; never raises what the database does."""
    key = (name, tuple(sorted(values.items())))
    # While the database is away nothing is slow, and its return is not to be seen two ticks late.
    memory = _memory()
    slow = memory.cost.get(key, 0.0) > SLOW_SECONDS and memory.failure is None
    fleet = fleets.current()
    reading = _slow_reading(fleet, *key) if slow else _reading(fleet, *key)
    if isinstance(reading.error, DatabaseUnavailableError) and time.monotonic() - memory.failed_at >= PROBE_SECONDS:
        # What another tab was told is no news: it may be back.
        _reading.clear(fleet, *key)
        reading = _reading(fleet, *key)
    return reading


def read_seldom(name: str) -> Reading:
    """One statistic that changes slowly, read once in a while for all tabs."""
    return _seldom_reading(fleets.current(), name)


def fresh(name: str, /, **values: object) -> Reading:
    """One statistic, read now: where somebody is about to decide by it."""
    key = (name, tuple(sorted(values.items())))
    _memory().cost.pop(key, None)
    _reading.clear(fleets.current(), *key)
    _slow_reading.clear(fleets.current(), *key)
    return read(name, **values)


def held(chart: str, name: str, /, **values: object) -> Reading:
    """One statistic for a chart on which one clicks: the reading stays while something in the chart is chosen.

    Streamlit knows a chart by what it draws: drawn from newer numbers it is another chart, and nothing is chosen in it.
    `forget` and other values end it.

    Args:
        chart: The chart's key.
        name: Which statistic.
        values: What it is asked with.
    """
    now = (name, tuple(sorted(values.items())), _memory().forgotten)
    then, kept = st.session_state.get(f"held {chart}", (None, None))
    chosen = getattr(getattr(st.session_state.get(chart), "selection", None), "points", None)
    reading = kept if isinstance(kept, Reading) and then == now and chosen else read(name, **values)
    st.session_state[f"held {chart}"] = (now, reading)
    return reading


def forget() -> None:
    """Read everything anew: something was changed."""
    _memory().forgotten += 1
    database().cache.outdate()
    _memory().cost.clear()
    _reading.clear()
    _slow_reading.clear()
    _seldom_reading.clear()


def capital(text: str) -> str:
    """The text with a capital at its beginning."""
    text = text.rstrip(".")
    return text[:1].upper() + text[1:]


def shown(name: object) -> str | None:
    """A file's name for a table: a mark that turns the reading direction is written out."""
    return None if name is None else directions_shown(str(name))


def why(event: Mapping[str, Any]) -> str:
    """The reason of an event: of an attempt the line that tells its error, of others what was said."""
    reason = event["reason"] or ""
    return directions_shown(last_line(reason) if event["kind"] == "attempt" else reason)


def in_full(error: str | None, label: str) -> None:
    """An error with its traceback, to be opened by whoever asks; nothing where its last line is all of it."""
    if error and error.strip() != last_line(error):
        with st.expander(escaped(label)):
            st.code(error, language=None, wrap_lines=True)


# Markdown makes links of bare addresses after it has undone the escapes: a character of no width keeps them apart.
