"""Search: files by their name, their state, their node, their age and the application's own columns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from psycopg import sql

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import DatabaseError, SettingError
from opskit.queue import row_content
from opskit.support.wording import seconds

MOST_BY_COLUMN = 10_000
"""So many files with one value of a column of the application's are looked at."""
KEYWORDS = ("state", "status", "node", "server", "since")
"""The names before a colon that are no columns."""
_QUALIFIED = re.compile(r"(\w+):(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search, parsed.

    Attributes:
        text: A part of the name, or an id.
        status, server_id: Only these.
        since_seconds: Only files whose last event is younger [s]; None for all.
        columns: Values of the application's columns.
    """

    text: str = ""
    status: str = ""
    server_id: str = ""
    since_seconds: float | None = None
    columns: dict[str, str] = field(default_factory=dict)


def understood(text: str, columns: tuple[str, ...] = ()) -> Search:
    """Parse a search text such as `customer_id:1044 state:failed node:prod-07 since:24h invoice`.

    Args:
        text: As typed. A word whose beginning is no name that is known is a part of the name.
        columns: The application's columns that may be named.

    Raises:
        SettingError: `since:` is followed by no length of time.
    """
    words: list[str] = []
    known: dict[str, str] = {}
    own: dict[str, str] = {}
    for word in text.split():
        match = _QUALIFIED.fullmatch(word)
        if match and match[1] in columns:
            own[match[1]] = match[2]
        elif match and match[1] in KEYWORDS:
            known[{"status": "state", "server": "node"}.get(match[1], match[1])] = match[2]
        else:
            words.append(word)
    since = seconds(known["since"]) if "since" in known else None
    if "since" in known and since is None:
        raise SettingError(f"since:{known['since']} must look like since:90s, since:15min, since:24h or since:7d")
    return Search(
        text=" ".join(words), status=known.get("state", ""), server_id=known.get("node", ""), since_seconds=since,
        columns=own,
    )  # fmt: skip


def not_understood(text: str, columns: tuple[str, ...]) -> list[str]:
    """The words of a search that look like `column:value`, but name nothing that it knows.

    Args:
        text: As typed.
        columns: The application's columns that may be named.
    """
    known = {*KEYWORDS, *columns}
    names = [match[1] for word in text.split() if (match := _QUALIFIED.fullmatch(word))]
    return [name for name in dict.fromkeys(names) if name.isidentifier() and name not in known]


def found(db: Database, wanted: Search, *, limit: int = 200) -> list[Row]:
    """The files that a search finds, in the whole table: the file with this id first, then by how well its name fits.

    Raises:
        DatabaseError: It takes longer than a statement of this connection may.

    SQL: sql/files_found.sql
    """
    only = _with_columns(db, wanted.columns) if wanted.columns else None
    since = "" if wanted.since_seconds is None else wanted.since_seconds
    rows = db.run(
        "files_found", search=wanted.text, status=wanted.status, server_id=wanted.server_id,
        since_seconds=since, ids=only or [],
        only_ids=only is not None, row_limit=limit,
    )  # fmt: skip
    if not wanted.text or only is not None:
        return rows
    by_id = row_content.file(db, wanted.text)
    if by_id is None:
        return rows
    itself = db.run(
        "files_found", search="", status=wanted.status, server_id=wanted.server_id, since_seconds=since,
        ids=[by_id["id"]], only_ids=True, row_limit=1,
    )  # fmt: skip
    return [*itself, *(row for row in rows if row["id"] != by_id["id"])][:limit]


def _with_columns(db: Database, wanted: dict[str, str]) -> list[str]:
    """The newest files with these values in the application's columns; an index of the application's serves it."""
    there = {row["column_name"] for row in db.run("all_columns")}
    if unknown := sorted(set(wanted) - there):
        raise SettingError(f"the table has no column {unknown[0]!r}")
    conditions = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in wanted)
    query = sql.SQL("SELECT id::text AS id FROM {} WHERE {} LIMIT {}").format(
        sql.Identifier(db.settings.files), conditions, sql.Literal(MOST_BY_COLUMN)
    )
    try:
        with db.connection() as connection:
            return [row["id"] for row in connection.execute(query, list(wanted.values())).fetchall()]
    except DatabaseError as error:
        if (error.sqlstate or "").startswith("22"):
            return []  # no value of this column looks like that
        raise
