"""Lanes: who comes first, and who may take what. A lane is the value of a column of the application's.

A node takes its lanes in turn: the one that it has served least recently comes first. It knows which have queued files
from a leap through their index, again every few seconds and after a notification; the claim asks the next few of them.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
import time
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.settings import Settings

Lane = str | None
"""A lane's value as text; None for files without one."""
NO_LANE = "(none)"
"""What files without a lane are called in OPSKIT_LANES and OPSKIT_EXCEPT_LANES."""
MOST_LANES = 10_000
# Of these the claim takes the first that has a file due. A longer list is parsed for nothing: the first one mostly has.
_ASKED_AT_ONCE = 8
_LOOK_SECONDS = 2.0
# After a notification; a look at many lanes takes some milliseconds, and must not be most of what a node does.
_SOONEST_SECONDS = 0.1
_PAUSES_PER_LOOK = 10
_FULL_LOOK_SECONDS = 5.0
_MOST_REMEMBERED = 50_000
_KNOWN_SECONDS = 10.0
NO_COLUMN = "processing_status"
"""What stands in for the column of the lanes where there is none."""


@dataclass(frozen=True, slots=True)
class Column:
    """The application's column whose values are the lanes, and the type of an array of them."""

    lane: str
    lane_schema: str
    lane_array: str


_KNOWN: weakref.WeakKeyDictionary[Database, tuple[float, Column | None]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Turn:
    """The lanes that one claim asks, in order, and where it begins to look in each.

    Attributes:
        lanes: The lanes.
        afters: A cursor for each.
        alone: Whether it is one lane, asked by the statement of one lane, which costs the server less.
    """

    lanes: tuple[Lane, ...]
    afters: tuple[str, ...]
    alone: bool = False

    @property
    def values(self) -> dict[str, str]:
        """As the statements take them: array literals; of one lane that is asked alone, its cursor as it is."""
        lanes = _literal(self.lanes)
        return (
            {"lanes": lanes, "after": self.afters[0]}
            if self.alone
            else {"lanes": lanes, "afters": _literal(self.afters)}
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Which lanes a node takes.

    Attributes:
        only: These; None for all.
        but: Not these.
    """

    only: frozenset[Lane] | None
    but: frozenset[Lane]

    @classmethod
    def of(cls, settings: Settings) -> Route:
        """The route that the settings name."""
        return cls(
            frozenset(names(settings.lanes)) if settings.lanes else None, frozenset(names(settings.except_lanes))
        )

    @classmethod
    def of_json(cls, stored: Mapping[str, list[Lane]]) -> Route:
        """The route that stands on a node's row."""
        return cls(frozenset(stored["only"]) if "only" in stored else None, frozenset(stored.get("except", ())))

    def takes(self, lane: Lane) -> bool:
        """Whether a node takes this lane."""
        return (self.only is None or lane in self.only) and lane not in self.but

    @property
    def restricts(self) -> bool:
        """Whether there is anything that it does not take."""
        return self.only is not None or bool(self.but)

    def as_json(self) -> dict[str, list[Lane]]:
        """As it stands on the node's row; empty when it takes every lane."""
        only = {} if self.only is None else {"only": sorted(self.only, key=str)}
        return only | ({"except": sorted(self.but, key=str)} if self.but else {})


def names(text: str) -> list[Lane]:
    """The lanes that a setting lists, separated by commas; one with a comma in it stands in double quotes."""
    listed = next(csv.reader([text], skipinitialspace=True), [])
    return [None if name == NO_LANE else name for name in (name.strip() for name in listed) if name]


def listed(lanes: Iterable[str]) -> str:
    """Lanes as the settings list them."""
    quoted = ('"' + lane.replace('"', '""') + '"' if set(lane) & set(',"') else lane for lane in lanes)
    return ",".join(quoted)


def column(db: Database) -> Column | None:
    """The column whose values are the lanes; None where lanes are off. What is found is known to *db* from then on.

    SQL: sql/lane_column.sql
    """
    found = db.run("lane_column")
    if not found:
        db.rename(lane_column=NO_COLUMN)
        return None
    db.rename(lane_column=found[0]["lane"], **found[0])
    return Column(**found[0])


def known(db: Database) -> Column | None:
    """The same for many readers: asked at most every few seconds."""
    now = time.monotonic()
    at, answer = _KNOWN.get(db, (float("-inf"), None))
    if now - at > _KNOWN_SECONDS:
        answer = column(db)
        _KNOWN[db] = (now, answer)
    return answer


def of_lane(db: Database, lane: str) -> str:
    """The lane that a list is narrowed to, as the statements take it; "" for all.

    Raises:
        SettingError: It names one, and the table has no lanes.
    """
    if lane and known(db) is None and column(db) is None:
        raise SettingError(f"{db.settings.files} has no lanes; run: opskit migrate --lane-column COLUMN")
    return lane


def beside(db: Database, rows: list[Row], file: str) -> list[Row]:
    """Rows that each name a file, with its lane where the table has lanes: of a deleted row None.

    Args:
        db: An open database.
        rows: What is told of the files.
        file: The column of their ids; "" for none, and the rows stay as they are.

    SQL: sql/lanes_of_files.sql
    """
    if not file or known(db) is None:
        return rows
    ids = sorted({row[file] for row in rows if row[file] is not None})
    found = {row["id"]: row["lane"] for row in db.run("lanes_of_files", ids=ids)} if ids else {}
    return [row | {"lane": found.get(row[file])} for row in rows]


class Lanes:
    """The lanes of one node, in turn.

    Args:
        db: The node's database.
        route: Which lanes it takes.

    Attributes:
        looked_at: When it was last looked which lanes have files [s, monotonic].
    """

    def __init__(self, db: Database, route: Route) -> None:
        self._db = db
        self._route = route
        self._due: deque[Lane] = deque()
        self._later: dict[Lane, float] = {}
        self._ripe_at = math.inf
        self._cursors: dict[Lane, str] = {}
        self._served: dict[Lane, int] = {}
        self._turns = 0
        self._look_at = 0.0
        self._soonest = 0.0
        self._was_due = self._had_first = False
        self.looked_at = 0.0
        self._full_look_at = 0.0
        self._beyond: Lane = None

    def next(self, *, alone: bool = False) -> Turn:
        """The lanes that the next claim asks: those served least recently first; empty when none has a file due.

        Args:
            alone: Whether the first of them may be asked alone. It is while the last claim found its file in the first
                lane: where lanes are short, or other nodes empty them, asking one by one would cost a statement each.

        SQL: sql/due_lanes.sql
        """
        now = time.monotonic()
        if now >= self._look_at:
            self.look()
        elif now >= self._ripe_at:
            ripe = [lane for lane, at in self._later.items() if at <= now]
            for lane in ripe:
                del self._later[lane]
            self._ripe_at = min(self._later.values(), default=math.inf)
            self._arrange([*self._due, *ripe])
        alone = alone and self._had_first and bool(self._due) and self._due[0] is not None
        asked = tuple(itertools.islice(self._due, 1 if alone else _ASKED_AT_ONCE))
        return Turn(asked, tuple(self._cursors.get(lane, "-infinity") for lane in asked), alone)

    def notified(self) -> None:
        """New files have arrived: look at the lanes again as soon as allowed."""
        self._look_at = min(self._look_at, self._soonest)

    def took(self, lane: Lane, cursor: str) -> None:
        """A file of this lane was claimed: the lanes before it had none, and it goes to the end."""
        self._had_first = bool(self._due) and self._due[0] == lane
        if lane in self._due:
            while self._due.popleft() != lane:
                pass
            self._due.append(lane)
        self._turns += 1
        self._was_due = False
        self._served[lane] = self._turns
        self._cursors[lane] = cursor

    def had_none(self, turn: Turn) -> None:
        """None of these lanes had a file to be had."""
        self._due = deque(lane for lane in self._due if lane not in turn.lanes)

    def had_no_first(self) -> None:
        """The lane that was asked alone had no file, or nothing was claimed for another reason: ask several next."""
        self._had_first = False

    @property
    def next_seconds(self) -> float | None:
        """Seconds until the next file of these lanes is due, as of the last look [s]; None when there is none.

        0 when one was due then: somebody else has it locked, or has claimed it this moment.
        """
        if self._was_due:
            return 0.0
        return max(0.0, min(self._later.values()) - time.monotonic()) if self._later else None

    def look(self) -> None:
        """Find out which lanes have queued files now.

        SQL: sql/due_lanes.sql
        """
        begun = time.monotonic()
        beyond = "{}" if self._beyond is None else _literal([self._beyond])
        found = self._db.run("due_lanes", row_limit=MOST_LANES, beyond=beyond)
        now = time.monotonic()
        named = [row["lane"] for row in found if row["lane"] is not None]
        self._beyond = named[-1] if len(named) >= MOST_LANES else None
        mine = [(row["lane"], row["due_seconds"]) for row in found if self._route.takes(row["lane"])]
        self._later = {lane: now + seconds for lane, seconds in mine if seconds > 0}
        self._ripe_at = min(self._later.values(), default=math.inf)
        self._arrange(lane for lane, seconds in mine if seconds <= 0)
        self._was_due, self.looked_at = bool(self._due), now
        self._look_at = now + _LOOK_SECONDS * random.uniform(0.8, 1.2)
        self._soonest = now + max(_SOONEST_SECONDS, (now - begun) * _PAUSES_PER_LOOK)
        if now >= self._full_look_at:
            # What committed late, was requeued at an old place or expedited lies before the cursors.
            self._full_look_at = now + _FULL_LOOK_SECONDS
            self._cursors = {}
        if len(self._served) > _MOST_REMEMBERED:
            self._served = {
                lane: turn for lane, turn in self._served.items() if turn > self._turns - _MOST_REMEMBERED // 2
            }

    def _arrange(self, due: Iterable[Lane]) -> None:
        # Lanes that were never served come first, each node in an order of its own.
        self._due = deque(sorted(due, key=lambda lane: (self._served.get(lane, 0), random.random())))


def demand_column(db: Database, route: Route) -> Column | None:
    """The column of the lanes, for a node; None where lanes are off.

    Raises:
        SettingError: They are off, and the node is told which ones to take.
    """
    found = column(db)
    if found is None and route.restricts:
        raise SettingError(
            f"OPSKIT_LANES or OPSKIT_EXCEPT_LANES is set, and {db.settings.files} has no lanes; "
            "run: opskit migrate --lane-column COLUMN"
        )
    return found


def _literal(items: Sequence[Lane]) -> str:
    """An array literal, in which None is NULL."""
    quoted = ("NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"
