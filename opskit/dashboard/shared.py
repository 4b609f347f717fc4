"""What the pages share: one database and one set of readings for all tabs, and what is said when it is away."""

from __future__ import annotations

import dataclasses
import functools
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import streamlit as st

from opskit import doctor, reaper, stats
from opskit.dashboard import signin
from opskit.database import Database, Row
from opskit.doctor.finding import command
from opskit.error_identity import last_line
from opskit.errors import DatabaseUnavailableError, NotMigratedError, OpskitError
from opskit.settings import Settings
from opskit.visible import directions_shown

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

BADGES: dict[str, Literal["green", "red", "blue", "gray"]] = {
    "completed": "green",
    "failed": "red",
    "processing": "blue",
    "queued": "gray",
}
NODE_BADGES = {
    "live": "green",
    "paused": "yellow",
    "draining": "blue",
    "silent": "orange",
    "quarantined": "orange",
    "dead": "red",
    "stopped": "gray",
}


def _claims(db: Database, *, look: bool) -> list[Row]:
    """Every claim as the reaper judges it; whoever may only read takes no look."""
    return reaper.preview(db, look=look, every=True)


def _examined(db: Database) -> list[Row]:
    """What the doctor finds."""
    return [dataclasses.asdict(finding) for finding in doctor.examine(db)]


STATISTICS: dict[str, Callable[..., Any]] = {
    name: getattr(stats, name)
    for name in (
        "events", "evidence", "files", "longest_running", "nodes", "pauses", "throughput", "timeline",
    )
} | {
    "concurrency": functools.partial(stats.concurrency, patience_seconds=PATIENCE_SECONDS),
    "distribution": functools.partial(stats.distribution, patience_seconds=PATIENCE_SECONDS),
    "failures": functools.partial(stats.failures, patience_seconds=STATEMENT_SECONDS),
    "claims": _claims,
    "doctor": _examined,
    "event": lambda db, *, event_id: db.run("event", event_id=event_id),
    "failed_files": lambda db, *, limit, **values: db.run("failed_files", row_limit=limit, **values),
    "file": lambda db, *, file_id: db.run("file", id=file_id),
}  # fmt: skip
"""What a page may read, by name; `source.py` says of each where else the same numbers are had."""


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
        plain = self.frame.astype(object).where(self.frame.notna(), None)
        names = [str(name) for name in plain.columns]
        return [dict(zip(names, row, strict=True)) for row in plain.itertuples(index=False, name=None)]


@dataclass(slots=True)
class _Memory:
    """The last good readings, and whether the database is known to be away."""

    known: dict[object, Reading] = field(default_factory=dict)
    cost: dict[object, float] = field(default_factory=dict)
    failed_at: float = -1e9
    failure: DatabaseUnavailableError | None = None

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


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """The settings of this process."""
    return Settings.load()


@st.cache_resource(show_spinner=False, on_release=Database.close)
def database() -> Database:
    """The one database of this process, for every tab."""
    return Database(settings(), statement_seconds=STATEMENT_SECONDS)


@st.cache_resource(show_spinner=False)
def _memory() -> _Memory:
    return _Memory()


# In the foreground: behind the scenes Streamlit would hand out what is up to twice as old.
@st.cache_resource(ttl=FRESH_SECONDS, show_spinner=False, max_entries=_REMEMBERED)
def _reading(name: str, values: tuple[tuple[str, object], ...]) -> Reading:
    return _taken(name, values)


# Streamlit hands out an entry for twice its ttl while it is renewed: more than a tick here, less than one above.
@st.cache_resource(ttl=TICK_SECONDS, refresh_mode="background", show_spinner=False, max_entries=_REMEMBERED)
def _slow_reading(name: str, values: tuple[tuple[str, object], ...]) -> Reading:
    # That it is slow was learnt by taking it a moment ago: nobody has to wait for the same again.
    last = _memory().known.get((name, values))
    young = last is not None and (datetime.now(UTC) - last.taken_at).total_seconds() < TICK_SECONDS
    return last if last is not None and young else _taken(name, values)


@st.cache_resource(ttl=SELDOM_SECONDS, refresh_mode="background", show_spinner=False, max_entries=_REMEMBERED)
def _seldom_reading(name: str) -> Reading:
    return _taken(name, ())


def _taken(name: str, values: tuple[tuple[str, object], ...]) -> Reading:
    """A reading of this moment; what was last known, with the reason, when there is none."""
    memory, key, began = _memory(), (name, values), time.monotonic()
    try:
        # One reading waits for the database that is away; the others of the page need not.
        if memory.failure is not None and time.monotonic() - memory.failed_at < PROBE_SECONDS:
            raise memory.failure
        frame = STATISTICS[name](database(), **dict(values))
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
    reading = _slow_reading(*key) if slow else _reading(*key)
    if isinstance(reading.error, DatabaseUnavailableError) and time.monotonic() - memory.failed_at >= PROBE_SECONDS:
        # What another tab was told is no news: it may be back.
        _reading.clear(*key)
        reading = _reading(*key)
    return reading


def read_seldom(name: str) -> Reading:
    """One statistic that changes slowly, read once in a while for all tabs."""
    return _seldom_reading(name)


def fresh(name: str, /, **values: object) -> Reading:
    """One statistic, read now: where somebody is about to decide by it."""
    key = (name, tuple(sorted(values.items())))
    _memory().cost.pop(key, None)
    _reading.clear(*key)
    _slow_reading.clear(*key)
    return read(name, **values)


def forget() -> None:
    """Read everything anew: something was changed."""
    database().kept.outdate()
    _memory().cost.clear()
    _reading.clear()
    _slow_reading.clear()
    _seldom_reading.clear()


def healthy(readings: Iterable[Reading]) -> bool:
    """Say what is wrong with these readings in one banner; whether there are numbers to draw."""
    readings = list(readings)
    oldest = min(readings, key=lambda reading: reading.taken_at)
    error = next((reading.error for reading in readings if reading.error), None)
    if error is None:
        return True
    complete = all(reading.frame is not None for reading in readings)
    say_error(error, shown=oldest if complete else None)
    return complete and not isinstance(error, NotMigratedError)


def say_error(error: OpskitError, *, shown: Reading | None = None) -> None:
    """One sentence for an error, and what helps against it."""
    if isinstance(error, NotMigratedError):
        env = settings().env
        st.warning(f"The tables of **{env}** are not migrated yet. This command adds what is missing:")
        st.code(command(settings(), "migrate"), language="bash")
        return
    sentence = escaped(capital(str(error)))
    if shown is not None:
        age = (datetime.now(UTC) - shown.taken_at).total_seconds()
        sentence += f". These are the last known numbers, **{span(age)} old**"
    if isinstance(error, DatabaseUnavailableError):
        sentence += ". The page comes back by itself"
    st.error(sentence + ".", icon=":material/cloud_off:")


def live(draw: Callable[[], None]) -> None:
    """Draw a part of the page that renews itself while the operator has not stopped that."""

    def part() -> None:
        # The frame is not drawn with it: whoever's sign-in has ended meanwhile is led to the door.
        if signin.role() is None:
            st.rerun()
        draw()

    every = TICK_SECONDS if st.session_state.get("live", True) else None
    st.fragment(part, run_every=every)()


def come_back() -> None:
    """On a page that does not renew itself: draw it anew once the database is back."""
    if _memory().failure is not None:
        st.fragment(_look_again, run_every=TICK_SECONDS)()


def _look_again() -> None:
    if read("pauses").error is None:
        forget()
        st.rerun()


def stamp() -> None:
    """Keep a place in the frame for the stamp, which the live part of a page fills."""
    st.session_state["stamp"] = st.container(width="content")


def as_of(*readings: Reading) -> None:
    """The stamp: as of when these numbers are true."""
    taken = [reading.taken_at for reading in readings if reading.frame is not None]
    if taken:
        st.session_state["stamp"].caption(f"as of {moment(min(taken))}", width="content")


def moment(when: datetime) -> str:
    """A time of day in the operator's own zone, which is named."""
    return f"{local(when):%H:%M:%S} {zone()}"


def local(when: datetime) -> datetime:
    """A time in the operator's own zone."""
    return when.astimezone(ZoneInfo(zone()))


def zone() -> str:
    """The browser's time zone, when it is one that this machine knows."""
    name = st.context.timezone or "UTC"
    return name if name in _zones() else "UTC"


@functools.cache
def _zones() -> set[str]:
    return available_timezones()


def span(seconds: float | None) -> str:
    """A stretch of time in the two units that matter."""
    if seconds is None or seconds != seconds:
        return "–"
    left = int(max(0, seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def time_column() -> Any:
    """A column of times in the operator's own zone."""
    return st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone=zone())


def state_column(colors: Mapping[str, str]) -> Any:
    """A column of states, each in its colour; its values are lists of one."""
    return st.column_config.MultiselectColumn(options=list(colors), color=list(colors.values()))


def table_height(rows: Sized) -> int | Literal["content"]:
    """A table as high as its rows, which scrolls by itself once there are many [px]."""
    return "content" if len(rows) <= 12 else 460


def progress(row: Row) -> float | None:
    """How far a node is with its file [%], when it says so."""
    done, total = row["progress_done"], row["progress_total"]
    return None if done is None or not total else min(100.0, 100.0 * float(done) / float(total))


def progress_column() -> Any:
    """A column of progress bars."""
    return st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100)


def what_happened(event: Row) -> str:
    """An event in words."""
    if event["kind"] == "attempt":
        return f"attempt {event['outcome']}, then {event['next_status']}"
    if event["kind"] == "requeue":
        return f"requeued, was {event['outcome']}"
    if event["kind"] == "state":
        return f"set to {event['outcome']}"
    if event["kind"] in ("pause", "resume"):
        return f"{event['kind']}d" + (" all nodes" if event["server_id"] == "*" else "")
    if event["kind"] == "breaker":
        return "opened the breaker" if event["outcome"] == "open" else "closed the breaker"
    kind = str(event["kind"])
    return {"boot": "started", "stop": "stopped", "adopt": "adopted"}.get(kind, kind)


def count(number: int, what: str, many: str = "") -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def capital(text: str) -> str:
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
_ADDRESS = re.compile(r"(?i)(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=www)(?=\.)|(?<=@)|(?<=mailto:)|(?<=xmpp:)")
_WORD_JOINER = "\u2060"


def escaped(text: object) -> str:
    """Text of others, such as a file's name or an error, for Markdown: shown as it is, and no link."""
    apart = _ADDRESS.sub(_WORD_JOINER, directions_shown(str(text)))
    return "".join("\\" + character if character in r"\`*_{}[]()#+-.!$~|<>:" else character for character in apart)


def label(text: object) -> str:
    """Text of others for a widget's label: what programs that read the page aloud get stays as near as can be."""
    apart = _ADDRESS.sub(_WORD_JOINER, directions_shown(str(text)))
    return "".join("\\" + character if character in r"\`*_[]$~<>:" else character for character in apart)
