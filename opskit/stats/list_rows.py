"""The rows of the statistics that take more than one statement, without pandas: the shell reads them, frames hold them.

Files, the history of what happened to them, the acts that it tells of, and the timeline's bars and marks.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from typing import Any

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue import lanes
from opskit.support import wording

SEARCH_ROWS = 100_000
"""How many files, the newest of their state, are searched for a name [rows]."""
_BATCH = 5_000
_MOST_ROWS = 2**31 - 1
_PLACE = re.compile(r"-infinity|\d{4,6}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?")
_INTEGERS = {"smallint": 15, "integer": 31, "bigint": 63}


def most(limit: int) -> int:
    """Check the most rows that may be asked for.

    Raises:
        SettingError: There can be no such number of rows.
    """
    if limit < 1:
        raise SettingError(f"the limit is {limit}; it must be at least 1")
    if limit >= _MOST_ROWS:
        raise SettingError(f"the limit is {limit}; it must be less than {_MOST_ROWS}")
    return limit


def files(
    db: Database,
    *,
    status: str = "",
    server_id: str = "",
    search: str = "",
    lane: str = "",
    before: str = "",
    limit: int = 200,
) -> list[Row]:
    """The files by their last event, newest first; see `stats.files`.

    Raises:
        SettingError: *before* is no place in the list.
    """
    at, slash, id = before.partition("/")
    if before and not (slash and id and _PLACE.fullmatch(at)):
        raise SettingError(f"{before!r} is no place in the list of files")
    lanes.of_lane(db, lane)
    lanes.known(db)
    return db.run(
        "files_list",
        status=status,
        server_id=server_id,
        search=search,
        ids=[search] if search and may_be_an_id(db, search) else [],
        of_lane=lane,
        search_rows=SEARCH_ROWS,
        before_at=at,
        before_id=id,
        row_limit=limit,
    )


def may_be_an_id(db: Database, text: str) -> bool:
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


def events(
    db: Database,
    *,
    file_id: str = "",
    kind: str = "",
    server_id: str = "",
    lane: str = "",
    before: int | None = None,
    limit: int = 100,
) -> list[Row]:
    """The history: ends of attempts and what operators did, newest first; see `stats.events`."""

    def batch(before: int | None, rows: int) -> list[Row]:
        asked: dict[str, Any] = {"file_id": file_id, "kind": kind, "row_limit": rows}
        if before is None and not server_id:
            found = db.run("events", **asked)
        else:
            found = db.run("events_before", server_id=server_id, before="" if before is None else before, **asked)
        return lanes.beside(db, found, "file_id")

    return _of_lane(batch, lanes.of_lane(db, lane), before, limit) if lane else batch(before, limit)


def _of_lane(batch: Callable[[int | None, int], list[Row]], lane: str, before: int | None, wanted: int) -> list[Row]:
    """The newest events of one lane's files: events hold no lane, so they are read until there are enough."""
    kept: list[Row] = []
    read = 0
    while len(kept) < wanted and read < SEARCH_ROWS:
        rows = batch(before, _BATCH)
        named = lane if lane != lanes.NO_LANE else None
        kept += [row for row in rows if row["file_id"] and row["lane"] == named]
        read += len(rows)
        if len(rows) < _BATCH:
            break
        before = rows[-1]["id"]
    return kept[:wanted]


def acts(db: Database, *, limit: int = 100) -> list[Row]:
    """What was done, newest first: one row an act; see `stats.acts`."""
    rows = db.run("acts", row_limit=limit)
    names = _names(db, {id for row in rows for id in row["file_ids"] or ()})
    for row in rows:
        shown = [names.get(id) or id for id in row["file_ids"] or ()]
        row["files"] = wording.named(shown, total=row["file_count"]) if shown else None
        row["server_ids"] = ", ".join(row["server_ids"]) if row["server_ids"] else None
    return rows


def timeline(
    db: Database, *, since_seconds: float = 3600.0, until_seconds: float = 0.0, limit: int = 2000
) -> list[Row]:
    """Every attempt as a bar and what happened to nodes as marks, oldest start first, of them the newest *limit*.

    Raises:
        SettingError: The window cannot be used.
    """
    for name, value in (("since_seconds", since_seconds), ("until_seconds", until_seconds)):
        if not (math.isfinite(value) and value >= 0):
            raise SettingError(f"{name} is {value:g}; it must be at least 0")
    if since_seconds <= until_seconds:
        raise SettingError(f"a window from {since_seconds:g} s to {until_seconds:g} s ago holds nothing")
    rows = db.run("timeline", since_seconds=since_seconds, until_seconds=until_seconds, row_limit=limit)[-limit:]
    names = _names(db, {row["file_id"] for row in rows if row["file_id"] and row["original_filename"] is None})
    for row in rows:
        row["original_filename"] = row["original_filename"] or names.get(row["file_id"])
    return lanes.beside(db, rows, "file_id")


def _names(db: Database, ids: set[str]) -> dict[str, str]:
    """The names of files. Events hold ids as text, the table may hold numbers: they are asked for by their own type."""
    found = db.run("filenames", ids=sorted(ids)) if ids else []
    return {row["id"]: row["original_filename"] for row in found}
