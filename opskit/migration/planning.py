"""The plan: which statements a migration would run now, who blocks them, and when it refuses."""

from __future__ import annotations

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import MigrationRefusedError
from opskit.migration.comparing import differences
from opskit.migration.state import lacking
from opskit.migration.steps import PARTS, Step, last_row, step, steps
from opskit.migration.trial import trial


def plan(db: Database, *, wake: bool | None = None) -> list[Step]:
    """The statements that `migrate` would run now, in order, each with its lock.

    Args:
        db: An open database.
        wake: Whether inserts are to wake nodes. Defaults to what was chosen before; at first they do.

    Raises:
        MigrationRefusedError: Migrating would harm what is there.
    """
    refuse(db)
    shared = sharing(db)
    _refuse(shared["problem"])
    differing = differences(db)
    lacks = lacking(db, differing)
    mends = {part: [text for each in differing if each.part == part for text in each.statements] for part in PARTS}
    mends["broken_indexes"] = [row["repair"] for row in db.run("migrate/broken_indexes")]
    old = {f"old_{each.key}" for each in differing if each.part == "outdated"}
    if old:
        lacks["superseded"] = lacks.get("superseded", {}) | dict.fromkeys(old, "")
    left_out = {"name": db.names["wake"], "fault": "left out"} in db.run("migrate/there")
    if wake and left_out:
        lacks["wake"] = {"wake": "the wake-up is left out"}
    if not (wake or (wake is None and not left_out)) and ("wake" in lacks or not left_out):
        # Also after the wake-up has been made anew, which switches it on.
        lacks["no_wake"] = {"wake": ""}
    if shared["shares"]:
        lacks["history"] = {}
    planned: list[Step] = []
    for part in PARTS:
        if mends[part]:
            planned += [step(db, part, text) for text in mends[part]]
        elif part in lacks:
            # Columns are added in one statement, whichever of them are missing.
            planned += steps(db, part, None if part in ("columns", "settle") else lacks[part])
    if planned:
        _refuse(db.one("migrate/refuse_rights")["problem"])
    if {"tables", "columns", "guard"} & {step.part for step in planned}:
        _refuse(trial(db))
    return planned


def refuse(db: Database) -> None:
    """Raise MigrationRefusedError when an existing table, column or name cannot be migrated."""
    found = db.one("migrate/refuse")
    _refuse(found["problem"])
    for name in ("refuse_columns", "refuse_names", *(["refuse_statuses"] if found["has_status"] else [])):
        _refuse(db.one(f"migrate/{name}")["problem"])


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise MigrationRefusedError(f"the migration was refused before anything was changed: {problem}")


def sharing(db: Database) -> Row:
    """Whether an older version has kept this table's history with another's, and what keeps it from being moved.

    SQL: sql/migrate/shared.sql
    """
    with db.connection() as connection, connection.transaction():
        return last_row(db, connection, "migrate/shared")


def survey(db: Database) -> Row:
    """What a migration meets: bytes and rows_estimated of the table, and who is in_the_way now.

    SQL: sql/migrate/survey.sql
    """
    return db.one("migrate/survey")
