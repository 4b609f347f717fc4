"""The way back: what the migration added is taken away, and nothing else."""

from __future__ import annotations

from psycopg import sql

from opskit.database import Database
from opskit.errors import MigrationRefusedError
from opskit.schema.lacking import exists
from opskit.schema.running import run
from opskit.schema.steps import Say, Step, step, steps


def rollback(db: Database, *, say: Say = lambda _: None) -> list[Step]:
    """Remove what the migration added: triggers, indexes, columns and the three tables beside.

    The application's columns and rows stay, and so does a files table that opskit itself created: it may
    hold files. So do the three tables beside while another table of the environment is migrated. Can be
    interrupted and run again.

    Raises:
        MigrationRefusedError: Nodes are alive.

    SQL: sql/migrate/rollback.sql
    """
    planned = plan_rollback(db)
    if planned and exists(db, "nodes") and (alive := db.run("alive_nodes")):
        raise MigrationRefusedError(f"{alive[0]['server_id']} is alive; stop every node before rolling back")
    for each in planned:
        say(f"{db.settings.files}: {' '.join(each.sql.split())[:100]}")
        run(db, each)
    return planned


def plan_rollback(db: Database) -> list[Step]:
    """The statements that `rollback` would run now, in order."""
    if not exists(db, "files"):
        return []
    *planned, last = steps(db, "rollback")
    planned.append(_without_notes(db) if exists(db, "events") and db.run("migrate/sharing") else last)
    added = [row["name"] for row in db.run("migrate/added_columns")] if exists(db, "events") else []
    if added:
        # Before the events go, which say what was added; in one statement, so that it is all or nothing.
        planned.insert(-1, _without_columns(db, added))
    return planned


def _without_notes(db: Database) -> Step:
    """Instead of the tables beside, which another migrated table of this environment needs: what they say of ours."""
    statement = sql.SQL(
        "DELETE FROM {} WHERE kind = 'migrate' AND outcome = 'columns' AND details ->> 'table' = {}"
    ).format(sql.Identifier(db.names["events"]), db.settings.files)
    return step(db, "rollback", statement.as_string())


def _without_columns(db: Database, names: list[str]) -> Step:
    drops = sql.SQL(", ").join(sql.SQL("DROP COLUMN IF EXISTS {}").format(sql.Identifier(name)) for name in names)
    statement = sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(db.settings.files), drops)
    return step(db, "rollback", statement.as_string())
