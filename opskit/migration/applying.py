"""Applies the steps: each waits a moment for its lock, gives up, and tries again."""

from __future__ import annotations

import contextlib

from psycopg import errors as pg
from psycopg import sql

from opskit.database import Database
from opskit.database.error_translation import translated
from opskit.database.session import Connection
from opskit.errors import DatabaseError
from opskit.migration.planning import plan, survey
from opskit.migration.progress import watched
from opskit.migration.state import still_lacking
from opskit.migration.steps import INDEXES, LOCK_SECONDS, Say, Step
from opskit.queue import cleanup
from opskit.queue.reaper import Cleanup
from opskit.support.progress import OnProgress, counting
from opskit.support.retry import Backoff

PATIENCE_SECONDS = 60.0
"""How long a statement is tried again before the migration gives up."""
# An autovacuum gives way to whoever has waited so long for its lock: by default 1 s, and we wait less than that.
_DEADLOCK_TIMEOUT = b"SET LOCAL deadlock_timeout = '400ms'"
# Beside a lock held too long: another migration that runs at the same time was quicker.
_IN_THE_WAY = (
    pg.LockNotAvailable, pg.DeadlockDetected, pg.UniqueViolation, pg.DuplicateTable, pg.DuplicateObject,
    pg.InternalError_,
)  # fmt: skip


class Migrated(list[Step]):
    """The steps that a migration has run, in order.

    Attributes:
        cleaned: What its last step, the cleanup of stale locks, has ended.
    """

    cleaned: Cleanup


def migrate(
    db: Database,
    *,
    wake: bool | None = None,
    actor: str = "migration",
    on_line: Say = lambda _: None,
    on_progress: OnProgress | None = None,
) -> Migrated:
    """Migrate this environment's tables. Idempotent; safe on a live system; can be interrupted and run again.

    Every statement waits less than a second for its lock, steps back and tries again, so that the
    application never queues behind it for longer. Nothing of the application's is changed. What an older
    version has made is brought up to date in place; its nodes go on working. The last step is a cleanup of
    stale locks.

    Args:
        db: An open database.
        wake: Whether inserts are to wake nodes, or nodes only poll. Defaults to what was chosen, at first they do.
        actor: Who does it, for the history.
        on_line: Called with a line for each statement, and for whoever is in its way.
        on_progress: Called several times a second with a StepProgress while a long statement runs, from a thread of
            its own.

    Returns:
        The steps that were run, none when everything was there; their `cleaned` is what the cleanup has ended.

    Raises:
        MigrationRefusedError: Migrating would harm what is there; nothing was changed.
        DatabaseError: A lock could not be had in a minute, PostgreSQL refused, or something is still lacking at
            the end; run it again.

    SQL: sql/migrate/*.sql, sql/cleanup.sql
    """
    db.writing()
    planned = plan(db, wake=wake)
    with counting("migrating", "statement", total=len(planned)) as done:
        for count, step in enumerate(planned):
            on_line(f"{db.settings.files}: {step.what}")
            with watched(db, step, on_progress):
                run(db, step, on_line=on_line)
            if step.part == "history":
                on_line(f"{db.settings.files}: {db.one('migrate/separated')['reason']}")
            done(count + 1)
    if planned and (left := still_lacking(db)):
        raise DatabaseError(f"every statement of the migration was run, and yet {'; '.join(left)}; run it again")
    migrated = Migrated(planned)
    migrated.cleaned = cleanup(db, actor=actor, reason="last step of the migration")
    return migrated


def run(db: Database, step: Step, *, on_line: Say = lambda _: None) -> None:
    """Run one statement behind a short lock_timeout; step back and try again while somebody is in the way."""
    backoff, told = Backoff(0.2, 5.0, PATIENCE_SECONDS), ""
    while True:
        try:
            with translated(), db.connection() as connection:
                _execute(db, connection, step)
            invalid = _invalid_index(db, step)
            if invalid is None:
                return
            # An earlier try, or somebody else's, broke off; IF NOT EXISTS takes what it left for an index.
            if backoff.is_over:
                raise DatabaseError(f"the index {invalid} is not valid; run: opskit migrate")
            on_line(f"{db.settings.files}: the index {invalid} was left invalid; it is built again")
            _drop_index(db, invalid)
            continue
        except Exception as error:
            if not isinstance(error.__cause__, _IN_THE_WAY):
                raise
            who = in_the_way(db)
            if backoff.is_last:
                raise _given_up(error, who) from error.__cause__
        if who != told:
            on_line(f"{db.settings.files}: steps back and tries again; {who or 'somebody holds a lock'}")
            told = who
        backoff.wait()


def _invalid_index(db: Database, step: Step) -> str | None:
    """The name of the index that a step should have built, when it is there and not valid."""
    if step.part not in ("indexes", "lanes"):
        return None
    ours = [db.names[key] for key in (*INDEXES, "lanes_index") if sql.Identifier(db.names[key]).as_string() in step.sql]
    return next((name for name in ours if {"name": name, "fault": "not valid"} in db.run("migrate/there")), None)


def _drop_index(db: Database, name: str) -> None:
    with db.connection() as connection:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)), prepare=False)


def in_the_way(db: Database) -> str:
    """Who holds a lock on the table that a statement may have to wait for, in words; the longest first."""
    return "; ".join(blocker(one) for one in survey(db)["in_the_way"][:3] if one["lock"])


def blocker(one: dict[str, object]) -> str:
    """A blocking session, as `survey` returns it, in words."""
    seconds = one["transaction_seconds"]
    since = "" if seconds is None else f", in a transaction for {seconds:.0f} s"
    return f"{one['who']}{since}"


def _given_up(error: Exception, who: str) -> Exception:
    if not who or not isinstance(error, DatabaseError):
        return error
    given_up = DatabaseError(
        f"{error}; after {PATIENCE_SECONDS:.0f} s in the way: {who}; run it again when that has ended, "
        "or end what can be spared: SELECT pg_terminate_backend(PROCESS)"
    )
    given_up.sqlstate = error.sqlstate
    return given_up


def _execute(db: Database, connection: Connection, step: Step) -> None:
    text = step.sql.encode()
    if not step.transactional:
        before = connection.execute("SELECT current_setting('statement_timeout') AS own").fetchone()
        assert before is not None
        connection.execute("SET statement_timeout = 0")
        try:
            connection.execute(text, prepare=False)
        finally:
            # Not RESET: that would take the role's own limit, which this session has put aside.
            connection.execute("SELECT set_config('statement_timeout', %s, false)", (before["own"],))
        return
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}".encode())
        with contextlib.suppress(pg.InsufficientPrivilege), connection.transaction():
            connection.execute(_DEADLOCK_TIMEOUT)
        # A role's own limit must not cut a scan that lets everybody through.
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL client_min_messages = warning")
        if step.part == "columns":
            # Together or not at all: what a rollback takes away is what this has added.
            db.run_on(connection, "migrate/note_columns")
        connection.execute(text, prepare=False)
