"""A scratch database on a local server, for users who may create nothing in the application's database."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from psycopg import sql

from opskit.database import embedded
from opskit.database.session import Connection
from opskit.settings import Settings


def launched() -> tuple[Settings, Callable[[], None]]:
    """Settings that lead to an empty server, and what ends it with all that it holds.

    Raises:
        EmbeddedServerError: There is no PostgreSQL on this machine.
    """
    home = Path(tempfile.mkdtemp(prefix="opskit-scratch-"))
    settings = Settings.load({}, home=str(home))

    def end() -> None:
        with contextlib.suppress(Exception):
            embedded.stop(settings)
        shutil.rmtree(home, ignore_errors=True)

    try:
        # Nothing here has to survive a crash.
        url = embedded.start(settings, {"fsync": "off", "full_page_writes": "off"})
    except BaseException:
        end()
        raise
    return dataclasses.replace(settings, database_url=url), end


def copy(there: Connection, here: Connection, files: str, rows: int, *, heavy: str) -> int:
    """Copy the application's table as far as it can be read: columns, types, NOT NULL, its key and its newest rows.

    A type that this server does not know becomes text; checks, foreign keys and indexes are left out.

    Args:
        there: A connection to the real database.
        here: One to the scratch.
        files: The table's name.
        rows: How many of its newest rows.
        heavy: The column of the files' contents: its values are left out, as all of binary columns are.

    Returns:
        Rows copied.
    """
    columns = there.execute(
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS needed, "
        "atttypid < 16384 AS known "  # below it are the types that every server has
        "FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        (files,),
    ).fetchall()
    migrated = any(column["name"] == "processing_token" for column in columns)
    columns = [column for column in columns if not (migrated and column["name"].startswith("processing_"))]
    if not columns:
        return 0
    parts: list[sql.Composable] = []
    for column in columns:
        light = column["name"] != heavy and column["type"] != "bytea"
        kind = sql.SQL(column["type"] if column["known"] else "text")
        needed = sql.SQL(" NOT NULL") if column["needed"] and light else sql.SQL("")
        parts.append(sql.SQL("{} {}{}").format(sql.Identifier(column["name"]), kind, needed))
    if any(column["name"] == "id" for column in columns):
        parts.append(sql.SQL("PRIMARY KEY (id)"))
    here.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(files), sql.SQL(", ").join(parts)))
    taken = [column for column in columns if column["name"] != heavy and column["type"] != "bytea"]
    names = sql.SQL(", ").join(sql.Identifier(column["name"]) for column in taken)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column["name"])) for column in taken)
    newest = there.execute(
        sql.SQL("SELECT {} FROM {} AS f ORDER BY f.id DESC LIMIT %s").format(texts, sql.Identifier(files)), (rows,)
    ).fetchall()
    types = sql.SQL(", ").join(
        sql.SQL("%s::{}").format(sql.SQL(column["type"] if column["known"] else "text")) for column in taken
    )
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(files), names, types)
    with here.transaction(), here.cursor() as cursor:
        cursor.executemany(statement, [list(row.values()) for row in newest])
    return len(newest)
