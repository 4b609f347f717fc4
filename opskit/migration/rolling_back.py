"""The rollback: removes what the migration added, and nothing else."""

from __future__ import annotations

from psycopg import sql

from opskit.database import Database
from opskit.errors import MigrationRefusedError, NotMigratedError
from opskit.migration.applying import run
from opskit.migration.planning import sharing
from opskit.migration.state import exists
from opskit.migration.steps import Say, Step, step, steps


def rollback(db: Database, *, confirm: str = "", on_line: Say = lambda _: None) -> list[Step]:
    """Remove what the migration added: triggers, indexes, columns and the tables beside.

    The application's columns and rows stay, and so does a files table that opskit itself created: it may
    hold files. So do the tables beside while an older version's history of another table is in them.
    Can be interrupted and run again.

    Args:
        db: An open database.
        confirm: The table's name, such as "uploaded_files": needed where states, results or a history go with it.
        on_line: Called with a line for each statement.

    Raises:
        MigrationRefusedError: Nodes are alive, or there is a history and *confirm* does not name the table.

    SQL: sql/migrate/rollback.sql, sql/migrate/worked.sql
    """
    db.writing()
    planned = plan_rollback(db)
    if planned and exists(db, "nodes") and (alive := db.run("alive_nodes")):
        raise MigrationRefusedError(f"{alive[0]['server_id']} is alive; stop every node before rolling back")
    if planned and (lost := _lost(db)) and confirm != db.settings.files:
        given = f"{confirm!r} is another name; " if confirm else ""
        raise MigrationRefusedError(
            f"rolling back {db.settings.files} ({db.settings.env}) drops {lost}; {given}if that is meant, say "
            f"rollback(db, confirm={db.settings.files!r})"
        )
    for each in planned:
        on_line(f"{db.settings.files}: {' '.join(each.sql.split())[:100]}")
        run(db, each)
    return planned


def _lost(db: Database) -> str:
    """What goes with a rollback and comes back with nothing, in words; empty when there is nothing."""
    lost = []
    try:
        found = db.one("migrate/worked")
    except NotMigratedError:
        return ""
    for what, phrase in (("events", "events of its history"), ("files", "states and results")):
        if found[what]:
            lost.append(f"{'1000 or more' if found[what] == 1000 else found[what]} {phrase}")
    return " and ".join(lost)


def plan_rollback(db: Database) -> list[Step]:
    """The statements that `rollback` would run now, in order.

    Raises:
        MigrationRefusedError: An older version has kept the table's history with another's.
    """
    if not exists(db, "files"):
        return []
    if sharing(db)["shares"]:
        raise MigrationRefusedError(
            f"{db.settings.files} has its history in {db.names['shared_events']}, with another table's; "
            "run: opskit migrate, which gives it tables of its own, and then roll back"
        )
    *planned, last = steps(db, "rollback")
    planned.append(_without_notes(db) if exists(db, "events") and db.run("migrate/sharing") else last)
    added = [row["name"] for row in db.run("migrate/added_columns")] if exists(db, "events") else []
    if added:
        # Before the events go, which say what was added; in one statement, so that it is all or nothing.
        planned.insert(-1, _without_columns(db, added))
    return planned


def _without_notes(db: Database) -> Step:
    """Instead of the tables beside, which another table shares since an older version: what they say of ours."""
    statement = sql.SQL(
        "DELETE FROM {} WHERE kind = 'migrate' AND outcome = 'columns' AND details ->> 'table' = {}"
    ).format(sql.Identifier(db.names["events"]), db.settings.files)
    return step(db, "rollback", statement.as_string())


def _without_columns(db: Database, names: list[str]) -> Step:
    drops = sql.SQL(", ").join(sql.SQL("DROP COLUMN IF EXISTS {}").format(sql.Identifier(name)) for name in names)
    statement = sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(db.settings.files), drops)
    return step(db, "rollback", statement.as_string())
