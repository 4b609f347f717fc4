"""The INSERT of a new row: which columns the application's table needs, and their values."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from psycopg import sql

from opskit.database import Database
from opskit.database.session import Connection
from opskit.database.text_values import as_text
from opskit.errors import DatabaseError, SettingError
from opskit.files.listing import Entry
from opskit.queue.expediting import head_start
from opskit.queue.readiness import demand_standing


@dataclass(frozen=True, slots=True)
class Form:
    """What a new row is made of: its columns, and their values beside the file's own."""

    names: sql.Composed
    fixed: tuple[str, ...]
    identity: Callable[[], str] | None

    def filled(self, row: Entry) -> tuple[object, ...]:
        """The statement with this row's values."""
        return (*row, *self.fixed) if self.identity is None else (*row, *self.fixed, self.identity())


def insert_form(db: Database, columns: Mapping[str, str], *, ahead_seconds: float = 0.0) -> Form:
    """The INSERT that this table's columns take."""
    demand_standing(db)
    table = _columns_of(db)
    _check_columns(db, table, columns)
    identity = _identity(table, columns)
    fixed = {"processing_status": "queued", **columns}
    if table["uploaded_at"]["column_default"] is None and "uploaded_at" not in columns:
        with db.connection() as connection:
            now = connection.execute("SELECT now()::text AS now").fetchone()
        assert now is not None
        fixed["uploaded_at"] = now["now"]
    if head_start(ahead_seconds):
        fixed |= _places(db, ahead_seconds)
    names = ["storage_path", "original_filename", "file_size", *fixed, *(["id"] if identity else [])]
    return Form(sql.SQL(", ").join(map(sql.Identifier, names)), tuple(fixed.values()), identity)


def _places(db: Database, ahead_seconds: float) -> dict[str, str]:
    """When the rows came, which is now, and their place in the queue so long before."""
    query = "SELECT now()::text AS came, (now() - %s * interval '1 second')::text AS place"
    with db.connection() as connection:
        row = connection.execute(query, (ahead_seconds,)).fetchone()
    assert row is not None
    return {"processing_arrived_at": row["came"], "processing_queued_at": row["place"]}


def insert_one(connection: Connection, table: str, form: Form, row: Entry) -> str:
    """Insert one row; returns the row as the database stored it."""
    values = [as_text(value) for value in form.filled(row)]
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id::text AS id, processing_status AS status").format(
        sql.Identifier(table), form.names, sql.SQL(", ").join([sql.Placeholder()] * len(values))
    )
    made = connection.execute(query, values).fetchone()
    if made is None or made["status"] != "queued":
        did = "keeps its row out" if made is None else f"makes its processing_status {made['status']!r}, not 'queued'"
        raise DatabaseError(f"{row[1]!r} cannot be queued: a trigger of {table} {did}; nothing was queued")
    return str(made["id"])


def _columns_of(db: Database) -> dict[str, dict[str, str | None]]:
    """The files table's columns: type, nullability and default; an identity counts as a default."""
    query = """
        SELECT column_name, data_type, is_nullable,
               CASE WHEN is_identity = 'YES' OR is_generated = 'ALWAYS' THEN 'made by the database'
                    ELSE column_default END AS column_default
          FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = %s ORDER BY ordinal_position"""
    with db.connection() as connection:
        return {row["column_name"]: row for row in connection.execute(query, (db.settings.files,))}


def _check_columns(db: Database, table: dict[str, dict[str, str | None]], columns: Mapping[str, str]) -> None:
    for name in columns:
        if name not in table:
            raise SettingError(f"{db.settings.files} has no column {name!r}")
        if name.startswith("processing_") or name in ("original_filename", "storage_path", "file_size"):
            raise SettingError(f"{name} is set by opskit itself; it cannot be given")
    given = {*columns, "id", "original_filename", "storage_path", "file_size", "processing_status", "uploaded_at"}
    needy = [
        name
        for name, column in table.items()
        if column["is_nullable"] == "NO" and column["column_default"] is None and name not in given
    ]
    if needy:
        raise SettingError(
            f"{db.settings.files}.{needy[0]} needs a value; say for example: opskit enqueue --set {needy[0]}=… PATH"
        )


def _identity(table: dict[str, dict[str, str | None]], columns: Mapping[str, str]) -> Callable[[], str] | None:
    """How a new row gets its id when neither the database nor the caller gives one."""
    column = table["id"]
    if column["column_default"] is not None or "id" in columns:
        return None
    if column["data_type"] in ("text", "uuid", "character varying", "character"):
        return lambda: str(uuid.uuid4())
    raise SettingError(
        f"the column id is {column['data_type']} without a default; say which id the file gets: "
        "opskit enqueue --set id=… PATH"
    )


def check_held(db: Database, text: str) -> None:
    """See that the database's encoding can hold a text that has to come back as it is: a path must lead to its file."""
    if db.fitting(text) != text:
        raise SettingError(f"{text!r} cannot be stored: the database's encoding is {db.encoding}; use another name")
