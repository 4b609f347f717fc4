"""Statistics: `opskit stats`, straight from the SQL, without pandas."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from typing import Any

from opskit.cli.tables import plain, table
from opskit.cli.verbs import Verbs, near
from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue.states import EventKind, FileState
from opskit.settings.command_line import settings_of
from opskit.stats.catalog import STATISTICS
from opskit.support import console, wording

FILTERS = {
    "since": "since_seconds",
    "limit": "limit",
    "state": "status",
    "server": "server_id",
    "search": "search",
    "lane": "lane",
    "file": "file_id",
    "kind": "kind",
}
"""The flags, and which parameter of a statistic each gives."""
WORDS = {"state": (*FileState, "none"), "kind": tuple(EventKind)}
"""What these flags take."""
TIMES = {"files": "last_at", "events": "at", "acts": "at", "failures": "latest"}
"""Statistics that are asked for a time by their rows' own: newest first, or as many as there are."""
_EVERY_ROW = 10_000


def add_stats(verbs: Verbs) -> None:
    """Add `opskit stats`."""
    one = verbs.add("stats", statistics, "show statistics")
    one.add_argument(
        "what", nargs="?", default="all", metavar="WHAT", choices=["all", *STATISTICS],
        help=f"all (default), {', '.join(list(STATISTICS)[:-1])} or {list(STATISTICS)[-1]}",
    )  # fmt: skip
    one.add_argument("--since", metavar="TIME", help="how far back, such as 90s, 15min, 24h or 7d")
    one.add_argument("--limit", type=int, metavar="N", help="most rows")
    one.add_argument("--state", help="files: only this state; none: without one")
    one.add_argument("--server", metavar="NODE", help="files, events: only this node's")
    one.add_argument("--search", metavar="TEXT", help="files: only names that contain this, or this id")
    one.add_argument("--lane", help="only files of this lane; (none): without one")
    one.add_argument("--file", metavar="ID", help="events: only this file's")
    one.add_argument("--kind", help="events: only this kind")
    one.add_argument("--wide", action="store_true", help="every column, however wide the terminal is")
    verbs.finish(one)


def statistics(given: argparse.Namespace) -> int:
    """Show statistics."""
    settings = settings_of(given)
    names = ("concurrency", "distribution", "nodes") if given.what == "all" else (given.what,)
    values = {name: filters(given, name) for name in names}
    with Database(settings, pooled=False) as db:
        rows = {name: [plain(row) for row in _rows(db, name, values[name])] for name in names}
    if given.json:
        console.as_json(rows if given.what == "all" else rows[given.what])
        return 0
    for name, found in rows.items():
        if name == "failures" and found and not given.wide:
            # One line a group, in one piece: what --error takes is copied from it.
            console.out.print("  files  last day  error")
            for row in found:
                line = f"{row['file_count']:>7,}  {row['last_day']:>8,}  {row['error']}"
                console.out.print(line, soft_wrap=True)
        elif STATISTICS[name].one_row and found:
            title = f"{settings.env}: {'now' if name == 'concurrency' else name}"
            console.table([{"number": key, "value": value} for key, value in found[0].items()], title=title)
            if name == "forecast":
                console.out.print(wording.outlook(found[0]["verdict"], found[0]["empty_in_seconds"]))
        else:
            table(found, STATISTICS[name].first, wide=given.wide, title=f"{settings.env}: {name}")
    return 0


def _rows(db: Database, name: str, asked: dict[str, Any]) -> list[Row]:
    """A statistic's rows; of those that know no such parameter the ones since a time, by the database's clock."""
    one = STATISTICS[name]
    if name not in TIMES or "since_seconds" not in asked:
        return one.rows(db, **asked)
    values = {**one.usual, **asked}
    most, since_seconds = values["limit"], values.pop("since_seconds")
    if name == "failures":
        values["limit"] = max(most, _EVERY_ROW)  # the largest come first, not the newest
    now: datetime = db.one("live", stale_after_seconds=db.settings.stale_after_seconds)["as_of"]
    begin, time = now - timedelta(seconds=since_seconds), TIMES[name]
    return [row for row in one.rows(db, **values) if row[time] is not None and row[time] >= begin][:most]


def filters(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """The filters that were given, under the names that the statistic knows.

    Raises:
        SettingError: It takes no such filter, or a value cannot be used.
    """
    known = {*STATISTICS[name].usual} | ({"since_seconds"} if name in TIMES else set())
    found: dict[str, Any] = {}
    for flag, parameter in FILTERS.items():
        value = getattr(given, flag)
        if value is None:
            continue
        if parameter not in known:
            takes = ", ".join(f"--{one}" for one, takes in FILTERS.items() if takes in known) or "no filter"
            raise SettingError(f"opskit stats {given.what} takes no --{flag}; it takes {takes}")
        if flag == "limit" and value < 1:
            raise SettingError(f"--limit is {value}; it must be at least 1")
        if flag in WORDS and value not in WORDS[flag]:
            *most, last = WORDS[flag]
            raise SettingError(
                f"--{flag} is {value!r}; it must be {', '.join(most)} or {last}{near(value, WORDS[flag])}"
            )
        found[parameter] = seconds(value) if flag == "since" else value
    return found


def seconds(text: str) -> float:
    """A length of time such as 90s, 15min, 24h or 7d [s].

    Raises:
        SettingError: It is none.
    """
    length = wording.seconds(text)
    if length is None:
        raise SettingError(f"--since is {text!r}; it must look like 90s, 15min, 24h or 7d")
    return length
