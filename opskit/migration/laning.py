"""Lanes: chooses the application's column whose values take turns, and builds its index."""

from __future__ import annotations

from opskit.database import Database
from opskit.errors import DatabaseError, SettingError
from opskit.migration.applying import run
from opskit.migration.progress import watched
from opskit.migration.steps import Say, Step, steps
from opskit.queue import lanes
from opskit.queue.readiness import demand_standing
from opskit.support.progress import OnProgress

_NO_OPERATOR_CLASS = "42704"


def plan_lanes(db: Database, column: str | None) -> list[Step]:
    """The statements that `set_lanes` would run now, in order; none where all is as it should be.

    Args:
        db: An open database.
        column: The application's column; None to switch lanes off.

    Raises:
        SettingError: The table has no such column, or it is one of ours.
    """
    if column is not None:
        _check(db, column)
    now = lanes.column(db)
    known = now.lane if now else None
    there = {row["name"]: row["fault"] for row in db.run("migrate/there")}
    planned: list[Step] = []
    if db.names["lanes_index"] in there and known != column:
        planned += steps(db, "no_lanes")
    if column is not None and known != column:
        db.rename(lane=column)
        planned += steps(db, "lanes")
    return planned


def set_lanes(
    db: Database,
    column: str | None,
    *,
    actor: str = "",
    on_line: Say = lambda _: None,
    on_progress: OnProgress | None = None,
) -> list[Step]:
    """Let the values of a column take turns in the queue; nodes go over to it within a minute.

    Args:
        db: An open database, migrated.
        column: The column, of any type that an index takes; None switches lanes off again.
        actor: Who does it, for the history. Defaults to the connection's.
        on_line: Called with a line for each statement.
        on_progress: Called several times a second with a StepProgress while a long statement runs, from a thread of
            its own.

    Returns:
        The statements that were run, none when it was so already.

    Raises:
        SettingError: The table has no such column, it is one of ours, or no index takes its type.

    SQL: sql/migrate/lanes.sql, sql/migrate/no_lanes.sql, sql/migrate/note_lanes.sql
    """
    db.writing()
    demand_standing(db)
    planned = plan_lanes(db, column)
    if (column or "") != (chosen_lanes(db) or ""):
        db.run("migrate/note_lanes", lane=column or "", actor=actor or db.actor)
    for step in planned:
        on_line(f"{db.settings.files}: {step.what}")
        try:
            with watched(db, step, on_progress):
                run(db, step, on_line=on_line)
        except DatabaseError as error:
            if error.sqlstate != _NO_OPERATOR_CLASS:
                raise
            db.run("migrate/note_lanes", lane="", actor=actor or db.actor)
            raise SettingError(f"no index takes the values of {column!r}, so it cannot be the lane") from error
    return planned


def chosen_lanes(db: Database) -> str | None:
    """The column that was chosen; None where lanes are off.

    SQL: sql/migrate/chosen_lanes.sql
    """
    found = db.run("migrate/chosen_lanes")
    return found[0]["lane"] if found else None


def _check(db: Database, column: str) -> None:
    if column.startswith("processing_") or column in ("id", "deleted"):
        raise SettingError(f"{column} cannot be the lane: it is opskit's own, or says nothing of who comes first")
    with db.connection() as connection:
        found = connection.execute(
            "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = %s AND attnum > 0 "
            "AND NOT attisdropped",
            (db.settings.files, column),
        ).fetchone()
    if not found:
        raise SettingError(f"{db.settings.files} has no column {column!r}")
