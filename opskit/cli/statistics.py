"""Statistics: `opskit stats`, straight from the SQL, without pandas; and what fits a terminal of them."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opskit.cli.verbs import Verbs
from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue.error_lines import last_line
from opskit.settings.command_line import settings_of
from opskit.stats.catalog import STATISTICS
from opskit.support import console, wording

_LONGEST = 32
"""A text has at most so many letters in a table."""
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
        rows = {name: [plain(row) for row in STATISTICS[name].rows(db, **values[name])] for name in names}
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


def filters(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """The filters that were given, under the names that the statistic knows.

    Raises:
        SettingError: It takes no such filter, or a value cannot be used.
    """
    known = STATISTICS[name].usual
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


def table(rows: list[Row], shown: tuple[str, ...] = (), *, wide: bool, title: str = "") -> None:
    """Rows as a table that fits the terminal: the least needed columns are left out, errors told by their last line.

    Args:
        rows: Each with the same columns.
        shown: The columns, the most needed first. Defaults to all in their order.
        wide: Every column, uncut.
        title: Stands above it.
    """
    if not rows or wide:
        console.table(rows, title=title, empty=f"{title}: nothing")
        return
    names = list(shown or rows[0])
    short = [{name: _cut(_short(row, name)) for name in names} for row in rows]
    width = console.out.width if console.out.is_terminal else max(80, shutil.get_terminal_size().columns)
    kept: list[str] = []
    for name in names:
        needs = max(len(name), *(len(console.cell(row[name])) for row in short))
        if not kept or needs <= width:
            kept.append(name)
            width -= needs + 2
    console.table([{name: row[name] for name in kept} for row in short], title=title)
    if left := [name for name in names if name not in kept]:
        console.err.print(f"left out: {', '.join(left)}; --wide shows them", soft_wrap=True)


def _cut(value: Any) -> Any:
    """A text short enough for a column, its middle left out: names differ at both ends."""
    if not isinstance(value, str) or len(value) <= _LONGEST:
        return value
    return f"{value[: _LONGEST // 2]}…{value[-(_LONGEST // 2 - 1) :]}"


def plain(row: Mapping[str, Any]) -> Row:
    """A row as JSON knows it."""
    return {key: wording.iso(value) if isinstance(value, datetime) else value for key, value in row.items()}


def _short(row: Mapping[str, Any], key: str) -> Any:
    """A value for a table: of an error the line that tells it."""
    value = row[key]
    is_error = key in ("processing_errors", "last_error") or (key == "reason" and row.get("kind") == "attempt")
    return last_line(value) if is_error and isinstance(value, str) else value
