"""A trial of the migration on a copy of the table, in a transaction that is rolled back.

No catalog says what a trigger, a domain or a rule of the application's will do with our rows. So the migration's own
statements are run on a temporary copy, with the constraints and triggers of the table and some of its rows, and files
go through all their states there. The table itself is only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
from psycopg import errors as pg

from opskit.database import Database
from opskit.database.error_translation import translated
from opskit.database.session import Connection
from opskit.migration.steps import PARTS, last_row, steps

# How long a trial waits for somebody else's lock, on whatever the application's triggers touch.
_LIMITS = b"SET LOCAL lock_timeout = '5s'; SET LOCAL client_min_messages = warning"
# A session that only reads can be asked for a plan; somebody else's lock is not the table's fault.
_NO_TRIAL = (pg.ReadOnlySqlTransaction, pg.LockNotAvailable, pg.DeadlockDetected)
_ON_THE_COPY = ("columns", "guard", "indexes")


def trial(db: Database) -> str | None:
    """What of the migration would fail, or later on an insert or a node's work, in a sentence.

    Returns:
        None when all goes well, or nothing can be tried here: a session that only reads, a role without TEMP.

    SQL: sql/migrate/trial_copy.sql, sql/migrate/trial.sql
    """
    with translated(), db.connection(translate=False) as connection, suppress(*_NO_TRIAL):
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(_LIMITS)
                return _tried(db, connection)
        except (*_NO_TRIAL, psycopg.OperationalError):
            raise
        except psycopg.Error as error:
            return f"to try it on a copy of {db.settings.files} fails: {_said(error)}"
    return None


def _tried(db: Database, connection: Connection) -> str | None:
    for part, text in _on_the_table(db):
        if said := _failure(connection, part, text):
            return said
    if not last_row(db, connection, "migrate/trial_copy")["copied"]:
        return None
    for part, text in _on_the_copy(db):
        if said := _failure(connection, part, text):
            return said
    problem: str | None = last_row(db, connection, "migrate/trial")["problem"]
    return problem


def _on_the_table(db: Database) -> Iterator[tuple[str, str]]:
    """Statements that lock nothing that is there: they make what is missing."""
    yield from (("tables", step.sql) for step in steps(db, "tables"))


def _on_the_copy(db: Database) -> Iterator[tuple[str, str]]:
    """Statements that change or read the files table: unqualified, they find the copy."""
    ours = db.names["files"].replace('"', '""')
    for part in _ON_THE_COPY:
        for step in steps(db, part):
            if part == "guard" or f'"{ours}"' in step.sql:
                yield part, step.sql.replace(" CONCURRENTLY", "", 1)


def _failure(connection: Connection, part: str, text: str) -> str | None:
    try:
        connection.execute(text.encode(), prepare=False)
    except (*_NO_TRIAL, psycopg.OperationalError):
        raise
    except psycopg.Error as error:
        return f"to {PARTS[part].what} would fail: {_said(error)}"
    return None


def _said(error: psycopg.Error) -> str:
    said, hint = error.diag.message_primary or str(error), error.diag.message_hint
    return " ".join(f"{said} ({hint})".split() if hint else said.split())
