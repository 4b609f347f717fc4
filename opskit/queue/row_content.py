"""A file's row: its current state, the application's columns, and the content where the row holds it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from psycopg import sql

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import DatabaseError, Reject

CONTENT = "file_content"
"""The column that holds the bytes of files without a path."""


def file(db: Database, id: str) -> Row | None:
    """One file in its current state; None when no row has this id, or when ids of this table have another form."""
    try:
        found = db.run("file", id=id)
    except DatabaseError as error:
        if not (error.sqlstate or "").startswith("22"):
            raise
        found = []
    return found[0] if found else None


def column_names(db: Database) -> list[str]:
    """The columns of the files table, the content left out, in order."""
    return [row["column_name"] for row in db.run("all_columns") if row["column_name"] != CONTENT]


def columns(
    db: Database, id: str, names: Collection[str] | None = None, *, there: Collection[str] | None = None
) -> dict[str, Any]:
    """The row of a file, its content left out; empty when there is none.

    Args:
        db: An open database.
        id: The file.
        names: Only these columns, as far as the table has them. Defaults to all.
        there: The table's columns, where they are known. Defaults to asking for them.
    """
    there = column_names(db) if there is None else there
    chosen = [name for name in there if names is None or name in names]
    return fetched(db, id, row_query(db, chosen)) if chosen else {}


def row_query(db: Database, names: Sequence[str]) -> bytes:
    """The statement that reads these columns of one row, for `fetched`.

    Worth keeping for whoever reads many rows: to put it together takes as long as to run it.
    """
    query = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(db.settings.files)
    )
    with db.connection() as connection:
        return query.as_bytes(connection)


def fetched(db: Database, id: str, query: bytes) -> dict[str, Any]:
    """The row of a file by a statement of `row_query`; empty when there is none."""
    with db.connection() as connection:
        return connection.execute(query, (id,)).fetchone() or {}


def content(db: Database, id: str, *, most_bytes: int | None = None) -> bytes:
    """The bytes in the row: bytea as it is, text as UTF-8 or base64.

    Args:
        db: An open database; its `content_encoding` says how text is kept.
        id: The file.
        most_bytes: Read only so many from the beginning. Defaults to all.

    Raises:
        Reject: There are none, or they are not base64.
    """
    encoded = db.settings.content_encoding == "base64"
    # Four letters of base64 are three bytes; line breaks between them are few.
    most = None if most_bytes is None else most_bytes * 3 // 2 + 4 if encoded else most_bytes
    column = sql.Identifier(CONTENT)
    part = (
        column
        if most is None
        else sql.SQL("substring({} FROM 1 FOR {}) AS {}").format(column, sql.Literal(most), column)
    )
    query = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(part, sql.Identifier(db.settings.files))
    with db.connection() as connection:
        try:
            row = connection.execute(query, (id,)).fetchone()
        except psycopg.errors.UndefinedColumn:
            raise Reject(f"the row has no storage_path, and the table no column {CONTENT}") from None
    found = row[CONTENT] if row else None
    if found is None:
        raise Reject(f"the row has neither storage_path nor {CONTENT}")
    if isinstance(found, str):
        found = found.encode()
    if not encoded:
        return bytes(found)
    try:
        whole = found if most is None else found[: len(found) // 4 * 4]
        return base64.b64decode(whole, validate=False)[:most_bytes]
    except binascii.Error as error:
        raise Reject(f"{CONTENT} is not base64: {error}") from error
