"""Enqueuing: inserts rows for files, in one transaction."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping

from psycopg import sql

from opskit.database import Database
from opskit.database.session import Connection
from opskit.files.listing import Entry, expand
from opskit.queue.new_rows import Form, check_held, insert_form
from opskit.support import wording
from opskit.support.progress import OnProgress, counting

_log = logging.getLogger(__name__)
_BATCH = 5000


def enqueue(
    db: Database,
    paths: Iterable[str | os.PathLike[str]],
    *,
    columns: Mapping[str, str] | None = None,
    skip_known: bool = False,
    ahead_seconds: float = 0.0,
    on_progress: OnProgress | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Queue files: every file under the given folders, and the files and URLs given themselves.

    Args:
        db: An open database.
        paths: Files, folders (with all that is in them, hidden files and links that lead out of them left out) and
            fsspec URLs.
        columns: Values for other columns of the application's table, such as {"file_type": "merchant"}.
        ahead_seconds: A head start in the queue, as `expedite` gives it [s]. Defaults to none.
        skip_known: Leave out what is in the table already, by storage_path.
        on_progress: Called with a Progress after each 5,000 rows. Defaults to a bar in a notebook, else to nothing.
        on_line: Called with a sentence where links were left out, or the table has not taken every row. Defaults to
            the log.

    Returns:
        How many rows were inserted.

    Raises:
        SettingError: A path does not exist or cannot be read; a column is missing or needs a value.
            Nothing was inserted.
    """
    db.writing()
    found = list(expand(paths, on_line=on_line or _log.warning))
    if found:
        with db.connection():  # what the database can hold is known once there is a connection
            pass
    for path, name, _ in found:
        check_held(db, path)
        check_held(db, name)
    if skip_known:
        known = _known(db, [path for path, _, _ in found])
        found = [entry for entry in found if entry[0] not in known]
    if not found:
        return 0
    return insert(db, found, columns=columns, ahead_seconds=ahead_seconds, on_progress=on_progress, on_line=on_line)


def insert(
    db: Database,
    rows: Iterable[Entry],
    *,
    columns: Mapping[str, str] | None = None,
    ahead_seconds: float = 0.0,
    on_progress: OnProgress | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Queue files that are where they belong, in one transaction; nothing is looked at.

    Args:
        db: An open database.
        rows: Each file as (storage path, name, size in bytes or None).
        columns: Values for other columns of the application's table.
        ahead_seconds: A head start in the queue [s]. Defaults to none.
        on_progress: Called with a Progress after each 5,000 rows. Defaults to a bar in a notebook, else to nothing.
        on_line: Called with a sentence where the table has not taken every row. Defaults to the log.

    Returns:
        How many rows were inserted, as PostgreSQL says: a trigger of the table may keep some out.

    Raises:
        SettingError: A column is missing or needs a value. Nothing was inserted.

    After: PostgreSQL's own COPY, "Populating a Database"
    """
    db.writing()
    form = insert_form(db, columns or {}, ahead_seconds=ahead_seconds)
    for value in (columns or {}).values():
        check_held(db, value)
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(db.settings.files), form.names)
    count = 0
    with counting("queueing", "file", on_progress=on_progress) as told:
        with db.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(command) as target:
                for count, row in enumerate(rows, 1):
                    check_held(db, row[0])
                    check_held(db, row[1])
                    target.write_row(form.filled(row))
                    if count % _BATCH == 0:
                        told(count)
            taken = cursor.rowcount
        told(taken)
    if taken != count:
        kept_out = "a BEFORE INSERT trigger of the table keeps the others out"
        (on_line or _log.warning)(
            f"{db.settings.files} has taken {taken:,} of {wording.count(count, 'file')}: {kept_out}"
        )
    return taken


def copy_in(connection: Connection, db: Database, form: Form, rows: Iterable[Entry]) -> int:
    """Queue files within the caller's transaction; returns how many rows PostgreSQL has inserted."""
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(db.settings.files), form.names)
    with connection.cursor() as cursor:
        with cursor.copy(command) as target:
            for row in rows:
                target.write_row(form.filled(row))
        return cursor.rowcount


def _known(db: Database, paths: list[str]) -> set[str]:
    query = sql.SQL("SELECT storage_path FROM {} WHERE storage_path = ANY (%s) AND deleted IS NOT TRUE").format(
        sql.Identifier(db.settings.files)
    )
    with db.connection() as connection:
        return {row["storage_path"] for row in connection.execute(query, (paths,))}
