"""Compares the installed schema with the one this version would create, by definition, not by name.

An index of an older version has the right name and another predicate. How PostgreSQL prints a predicate depends on
its version and on the types of the application's columns, so it is asked: the migration's own statements are run on
empty temporary tables with the same columns, the catalogs are compared, and the transaction is rolled back.
"""

from __future__ import annotations

from dataclasses import dataclass

from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.migration.steps import INDEXES, TRIGGERS, steps

# A role without TEMP, a server or session that only reads, or a table whose columns or event triggers do not let the
# statements through, which a plan refuses: what is there is then judged by its names alone.
_NO_MODEL = ("42", "25", "22", "0A", "P0")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is there and is not what this version makes.

    Attributes:
        part: The part of the migration that mends it.
        key: Its key in `db.names`; what it is in words where it has none.
        phrase: What differs.
        statements: What mends it, where the statements of the part itself would pass over it.
    """

    part: str
    key: str
    phrase: str
    statements: tuple[str, ...] = ()


def differences(db: Database) -> list[Difference]:
    """Everything that is there and is not what this version makes; changes nothing.

    SQL: sql/migrate/model.sql, sql/migrate/outdated.sql, sql/migrate/differing.sql
    """
    try:
        outdated, differing = _compared(db)
    except DatabaseError as error:
        if (error.sqlstate or "")[:2] not in _NO_MODEL:
            raise
        return []
    keys = {name: key for key, name in db.names.items()}
    found = []
    for row in outdated:
        phrase = row["about"].removeprefix("-- ")
        key = keys.get(phrase.removesuffix(" has another definition"), phrase)
        mends = tuple(statement for statement in (row["clear"], row["mend"]) if statement)
        found.append(Difference("outdated" if key in INDEXES else "beside", key, phrase, mends))
    found += [Difference(row["part"], keys.get(row["name"], row["name"]), row["phrase"]) for row in differing]
    return found


def _compared(db: Database) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The rows of sql/migrate/outdated.sql and sql/migrate/differing.sql, compared with the model."""
    texts = [
        step.sql.replace(" CONCURRENTLY", "", 1)
        for part in ("tables", "columns", "indexes")
        for step in steps(db, part)
    ]
    # A trigger calls its function by name, and functions are never looked for among temporary ones.
    there = {row["name"] for row in db.run("migrate/there")}
    for part, keys in (("guard", {"guard", "guard_new"}), ("wake", {"wake"})):
        if all(db.names[key] in there for key in keys & set(TRIGGERS)):
            texts += [step.sql for step in steps(db, part)]
    with db.connection() as connection, connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL client_min_messages = warning")
        model = db.run_on(connection, "migrate/model")
        if not model:
            return [], []
        connection.execute(model[0]["model"].encode(), prepare=False)
        path = connection.execute(
            "SELECT current_setting('search_path') AS own, "
            "set_config('search_path', 'pg_temp, ' || quote_ident(current_schema()), true) AS model"
        ).fetchone()
        assert path is not None
        for text in texts:
            connection.execute(text.encode(), prepare=False)
        connection.execute("SELECT set_config('search_path', %s, true)", (path["own"],))
        return db.run_on(connection, "migrate/outdated"), db.run_on(connection, "migrate/differing")
