"""The steps of a migration: the statements of `sql/migrate/`, each with what it does and the lock it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from psycopg import sql

from opskit.database import Database, queries
from opskit.database.session import Connection, Row
from opskit.database.sql_variables import Statement
from opskit.support import notebook_output

LOCK_SECONDS = 0.8
"""How long a statement waits for its lock before it steps back: whoever comes after us waits as long [s]."""
Say = Callable[[str], None]
_MOMENT = "ACCESS EXCLUSIVE, a moment"
_LETS_THROUGH = "SHARE UPDATE EXCLUSIVE: reads and writes go on"


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of the migration.

    Attributes:
        part: The file of `sql/migrate/` it stands in.
        what: What it does, in words.
        lock: The strongest lock it takes on the files table.
        sql: The statement as it will be run.
        transactional: Whether it may run in a transaction (CREATE INDEX CONCURRENTLY may not).
        reads: How many times it reads a table from end to end; no step rewrites one.
        table: The table it reads.
    """

    part: str
    what: str
    lock: str
    sql: str
    transactional: bool = True
    reads: int = 0
    table: str = ""

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.record(
            self.what, {"part": self.part, "lock": self.lock, "sql": self.sql, "reads": self.reads}
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the migration: the statements of one file."""

    what: str
    lock: str
    reads: int = 0


# In the order in which they are run.
PARTS: dict[str, Part] = {
    "tables": Part("create the tables that are missing", "none"),
    "history": Part("move what an older version kept beside uploaded_files to tables of its own", "ROW EXCLUSIVE"),
    "columns": Part("add the columns, catalog only", _MOMENT),
    "guard": Part("install the guard", "SHARE ROW EXCLUSIVE, a moment"),
    "former_checks": Part("drop the checks of an older version: the guard does their work", _MOMENT),
    "beside": Part("bring our own tables up to date", "none"),
    "outdated": Part("set an index of an older version aside; it serves until the new one is built", _LETS_THROUGH),
    "broken_indexes": Part("drop an index that an interrupted run left invalid", _LETS_THROUGH),
    "indexes": Part("build the indexes", _LETS_THROUGH, reads=2),
    "superseded": Part("drop the index of an older version that was set aside", _LETS_THROUGH),
    "wake": Part("install the wake-up", "SHARE ROW EXCLUSIVE, a moment"),
    "no_wake": Part("leave the wake-up out: nodes poll", "SHARE ROW EXCLUSIVE, a moment"),
    "lanes": Part("build the index of the lanes", _LETS_THROUGH, reads=2),
    "no_lanes": Part("drop the index of the lanes", _LETS_THROUGH),
    "settle": Part("give claims from before a start, and queued files their place", "ROW EXCLUSIVE"),
    "rollback": Part("roll back", _MOMENT),
}
TRIGGERS = ("guard", "guard_new", "wake")
INDEXES = (
    "queue_index", "held_index", "ended_index", "failed_index", "alike_index", "waiting_index", "events_by_file",
    "events_by_time", "events_by_kind", "events_by_node",
)  # fmt: skip
FORMER_CHECKS = ("state_check", "fence_check")


def step(db: Database, part: str, text: str, *, names: Collection[str] = ("files",)) -> Step:
    """A statement as a step of its part."""
    about = PARTS[part]
    table = next((db.names[key] for key in ("files", "events") if key in names), "") if about.reads else ""
    alone = "CONCURRENTLY" not in text
    return Step(part, about.what, about.lock, text.strip(), transactional=alone, reads=about.reads, table=table)


def steps(db: Database, part: str, only: Collection[str] | None = None) -> Iterator[Step]:
    """The statements of a part.

    Args:
        db: An open database.
        part: A key of PARTS that is a file of `sql/migrate/`.
        only: Names (keys of `db.names`); statements that name none of them are left out. Defaults to all.
    """
    statements = queries.statements(f"migrate/{part}")
    if part == "columns" and db.one("migrate/refuse")["plain_queue"]:
        statements += queries.statements("migrate/plain_queue")
    if part == "history":
        # One transaction: what is moved is moved, or nothing is.
        yield step(db, part, ";\n".join(_filled(db, statement) for statement in statements))
        return
    for statement in statements:
        if only is None or statement.names & set(only):
            yield step(db, part, statement.compose(db.names).as_string(), names=statement.names)


def _filled(db: Database, statement: Statement) -> str:
    """A statement's text with the names that it takes as values in it."""
    text = statement.compose(db.names).as_string()
    return (
        text % {key: sql.Literal(db.names[key]).as_string() for key in statement.values} if statement.values else text
    )


def last_row(db: Database, connection: Connection, name: str) -> Row:
    """The row that the last statement of a file answers; the others are run before it."""
    rows: list[Row] = []
    for statement in queries.statements(name):
        values = {key: db.names[key] for key in statement.values}
        cursor = connection.execute(statement.compose(db.names).as_bytes(), values or None)
        rows = cursor.fetchall() if cursor.description else []
    return rows[0]
