"""The migration: what opskit adds to the application's table, safely, and how it is taken away again.

The statements are those of `sql/migrate/`, which psql runs too (sql/migrate.sql). What Python adds is
looking first (only what is missing is done), retries behind a short lock_timeout, and a plan.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from psycopg import errors as pg
from psycopg import sql

from opskit import queries
from opskit.database import Connection, Database, Row, names, translated
from opskit.errors import MigrationRefusedError
from opskit.settings import ENVIRONMENTS, Settings

LOCK_SECONDS = 0.8
"""How long a statement waits for its lock before it steps back: whoever comes after us waits as long [s]."""
PATIENCE_SECONDS = 60.0
"""How long a statement is tried again before the migration gives up."""

STATES = ("queued", "processing", "completed", "failed")
_COLUMNS = (
    "processing_status", "processing_server_id", "processing_started_at", "processing_completed_at",
    "processing_errors", "processing_queued_at", "processing_attempt", "processing_failures", "processing_token",
    "processing_done_token", "processing_epoch", "processing_result",
    "original_filename", "storage_path", "file_size", "uploaded_at", "deleted",
)  # fmt: skip

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of the migration.

    Attributes:
        part: The file of `sql/migrate/` it stands in.
        what: What it does, in words.
        lock: The strongest lock it takes on the files table.
        sql: The statement as it will be run.
        transactional: Whether it may run in a transaction (CREATE INDEX CONCURRENTLY may not).
    """

    part: str
    what: str
    lock: str
    sql: str
    transactional: bool = True


_PARTS: dict[str, tuple[str, str]] = {
    "tables": ("create the tables that are missing", "none"),
    "columns": ("add the columns, catalog only", "ACCESS EXCLUSIVE, a moment"),
    "guard": ("install the guard", "SHARE ROW EXCLUSIVE, a moment"),
    "indexes": ("build the indexes", "SHARE UPDATE EXCLUSIVE: reads and writes go on"),
    "constraints": ("add the promises as constraints, not validated yet", "ACCESS EXCLUSIVE, a moment"),
    "validate": ("validate the constraints by a scan", "SHARE UPDATE EXCLUSIVE: reads and writes go on"),
    "wake": ("install the wake-up", "SHARE ROW EXCLUSIVE, a moment"),
    "settle": ("give claims without a start one", "ROW EXCLUSIVE"),
}


def missing(db: Database) -> list[str]:
    """What this version needs and the schema lacks, one phrase each; empty when it is migrated."""
    return [phrase for phrases in _missing(db).values() for phrase in phrases]


def check(db: Database) -> bool:
    """Whether this environment's tables are migrated."""
    return not missing(db)


def plan(db: Database) -> list[Step]:
    """The statements that `migrate` would run now, in order, each with its lock.

    Raises:
        MigrationRefusedError: Migrating would harm what is there.
    """
    refuse(db)
    lacking = _missing(db)
    repairs = [
        Step("broken_indexes", "drop an index that an interrupted run left invalid", "SHARE UPDATE EXCLUSIVE",
             row["repair"], transactional=False)
        for row in db.run("migrate/broken_indexes")
    ]  # fmt: skip
    steps = [step for part in _PARTS if lacking.get(part) for step in _steps(db, part)]
    at = next((n for n, step in enumerate(steps) if step.part == "indexes"), len(steps))
    return steps[:at] + repairs + steps[at:]


def migrate(db: Database, *, say: Say = lambda _: None) -> list[Step]:
    """Migrate this environment's tables. Idempotent; safe on a live system; can be interrupted and run again.

    Every statement waits less than a second for its lock, steps back and tries again, so that the
    application never queues behind it for longer. Nothing of the application's is changed.

    Args:
        db: An open database.
        say: Called with a line for each statement.

    Returns:
        The steps that were run; none when everything was there.

    Raises:
        MigrationRefusedError: Migrating would harm what is there; nothing was changed.
        DatabaseError: A lock could not be had in a minute, or PostgreSQL refused; run it again.

    SQL: sql/migrate/*.sql
    """
    steps = plan(db)
    for step in steps:
        say(f"{db.settings.files}: {step.what}")
        if step.part == "columns":
            db.run("migrate/note_columns")
        _run(db, step)
    return steps


def survey(db: Database) -> Row:
    """What a migration meets: bytes and rows_estimated of the table, and who is in_the_way now.

    SQL: sql/migrate/survey.sql
    """
    return db.one("migrate/survey")


def refuse(db: Database) -> None:
    """Raise MigrationRefusedError when existing columns or rows cannot be what opskit takes them for."""
    found = db.one("migrate/refuse")
    problem = found["problem"]
    if problem is None and found["has_status"]:
        problem = db.one("migrate/refuse_statuses")["problem"]
    if problem is not None:
        raise MigrationRefusedError(f"the migration was refused before anything was changed: {problem}")


def queue_new(db: Database, *, on: bool = True) -> None:
    """Cut over: from now on new rows are queued; off: they wait without a status again.

    SQL: sql/queue_new.sql, sql/no_queue_new.sql
    """
    name = "queue_new" if on else "no_queue_new"
    statement = queries.statements(name)[0].compose(db.names).as_string()
    _run(db, Step(name, "cut over", "ACCESS EXCLUSIVE, a moment", statement))


def queues_new(db: Database) -> bool:
    """Whether new rows of the application are queued by themselves."""
    rows = [row for row in db.run("columns") if row["column_name"] == "processing_status"]
    return bool(rows) and "queued" in (rows[0]["column_default"] or "")


def rollback(db: Database, *, say: Say = lambda _: None) -> list[Step]:
    """Remove what the migration added: triggers, constraints, indexes, columns and the three tables beside.

    The application's columns and rows stay, and so does a files table that opskit itself created: it may
    hold files. Can be interrupted and run again.

    Raises:
        MigrationRefusedError: Nodes are alive.

    SQL: sql/migrate/rollback.sql
    """
    if not _exists(db, "files"):
        return []
    if _exists(db, "nodes") and (alive := db.run("alive_nodes")):
        raise MigrationRefusedError(f"{alive[0]['server_id']} is alive; stop every node before rolling back")
    steps = list(_steps(db, "rollback"))
    added = [row["name"] for row in db.run("migrate/added_columns")] if _exists(db, "events") else []
    if added:
        # Before the events go, which say what was added; in one statement, so that it is all or nothing.
        steps.insert(-1, _without_columns(db, added))
    for step in steps:
        say(f"{db.settings.files}: {' '.join(step.sql.split())[:100]}")
        _run(db, step)
    return steps


def _without_columns(db: Database, names: list[str]) -> Step:
    drops = sql.SQL(", ").join(sql.SQL("DROP COLUMN IF EXISTS {}").format(sql.Identifier(name)) for name in names)
    statement = sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(db.settings.files), drops)
    return Step("rollback", "drop our columns", "ACCESS EXCLUSIVE, a moment", statement.as_string())


def both(db: Database) -> Iterator[Database]:
    """The database as each environment sees it, production first."""
    for env in ENVIRONMENTS:
        with Database(dataclasses.replace(db.settings, env=env), pooled=False) as one:
            yield one


def _exists(db: Database, name: str) -> bool:
    with db.connection() as connection:
        row = connection.execute(
            "SELECT to_regclass(quote_ident(%s)) IS NOT NULL AS there", (db.names[name],)
        ).fetchone()
    return bool(row and row["there"])


def _missing(db: Database) -> dict[str, list[str]]:
    """What is missing, by the part of the migration that adds it."""
    named = db.names
    with db.connection() as connection:
        found = {
            row["name"]: row["fine"]
            for row in connection.execute(
                """
                SELECT c.relname AS name, coalesce(i.indisvalid, true) AS fine
                  FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
                 WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY (%(names)s)
                UNION ALL
                SELECT conname, convalidated FROM pg_constraint
                 WHERE conrelid = to_regclass(quote_ident(%(files)s)) AND conname = ANY (%(names)s)
                UNION ALL
                SELECT tgname, tgenabled <> 'D' FROM pg_trigger
                 WHERE tgrelid = to_regclass(quote_ident(%(files)s)) AND tgname = ANY (%(names)s)
                """,
                {"names": list(named.values()), "files": named["files"]},
            )
        }
    columns = {row["column_name"]: row for row in db.run("columns")}
    lacking: dict[str, list[str]] = {part: [] for part in _PARTS}

    def need(part: str, *keys: str, valid: bool = False) -> None:
        for key in keys:
            if named[key] not in found:
                lacking[part].append(f"{named[key]} is missing")
            elif valid and not found[named[key]]:
                lacking[part].append(f"{named[key]} is not valid")

    need("tables", "files", "nodes", "events", "pauses")
    gone = [name for name in _COLUMNS if name not in columns]
    lacking["columns"] += [f"column {name} of {named['files']} is missing" for name in gone]
    if "processing_queued_at" in columns and not columns["processing_queued_at"]["column_default"]:
        lacking["columns"].append("processing_queued_at has no default")
    need("guard", "guard", "guard_new")
    need("indexes", "queue_index", "held_index", "ended_index", "events_by_file", "events_by_time", valid=True)
    need("constraints", "state_check", "fence_check")
    if lacking["constraints"]:
        lacking["validate"].append("the constraints are not validated")
    need("validate", *(key for key in ("state_check", "fence_check") if named[key] in found), valid=True)
    need("wake", "wake")
    if gone or lacking["tables"] or db.run("migrate/unsettled"):
        lacking["settle"].append("claims from before may lack a start")
    return lacking


def _steps(db: Database, part: str) -> Iterator[Step]:
    what, lock = _PARTS.get(part, ("roll back", "ACCESS EXCLUSIVE, a moment"))
    statements = queries.statements(f"migrate/{part}")
    if part == "columns" and db.one("migrate/refuse")["plain_queue"]:
        statements += queries.statements("migrate/plain_queue")
    for statement in statements:
        text = statement.compose(db.names).as_string().strip()
        yield Step(part, what, lock, text, transactional="CONCURRENTLY" not in text)


def _run(db: Database, step: Step) -> None:
    """Run one statement behind a short lock_timeout; step back and try again while somebody is in the way."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.2
    while True:
        try:
            with translated(), db.connection() as connection:
                _execute(connection, step)
            return
        except Exception as error:
            if not isinstance(error.__cause__, _IN_THE_WAY) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


# Beside a lock held too long: another migration that runs at the same time was quicker.
_IN_THE_WAY = (
    pg.LockNotAvailable, pg.DeadlockDetected, pg.UniqueViolation, pg.DuplicateTable, pg.DuplicateObject,
    pg.InternalError_,
)  # fmt: skip


def _execute(connection: Connection, step: Step) -> None:
    text = step.sql.encode()
    if not step.transactional:
        connection.execute("SET statement_timeout = 0")
        try:
            connection.execute(text, prepare=False)
        finally:
            connection.execute("RESET statement_timeout")
        return
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}".encode())
        # A role's own limit must not cut a scan that lets everybody through.
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(text, prepare=False)


def tables(settings: Settings) -> list[str]:
    """The names of the tables that belong to one environment."""
    named = names(settings)
    return [named[key] for key in ("files", "nodes", "events", "pauses")]
