"""What a file's row holds: the bytes of the file where it has no path, and the application's own columns."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import psycopg
from psycopg import sql

from opskit.database import Database
from opskit.errors import Reject


def content(db: Database, id: str) -> bytes:
    """The bytes in the row: bytea as it is, text as UTF-8 or base64.

    Raises:
        Reject: There are none, or they are not base64.
    """
    query = sql.SQL("SELECT file_content FROM {} WHERE id = %s").format(sql.Identifier(db.settings.files))
    with db.connection() as connection:
        try:
            row = connection.execute(query, (id,)).fetchone()
        except psycopg.errors.UndefinedColumn:
            raise Reject("the row has no storage_path, and the table no column file_content") from None
    found = row["file_content"] if row else None
    if found is None:
        raise Reject("the row has neither storage_path nor file_content")
    if isinstance(found, str):
        found = found.encode()
    if db.settings.content_encoding != "base64":
        return bytes(found)
    try:
        return base64.b64decode(found, validate=False)
    except binascii.Error as error:
        raise Reject(f"file_content is not base64: {error}") from error


def columns(db: Database, id: str) -> dict[str, Any]:
    """The row as the application made it, its content left out; empty when it has been deleted."""
    names = [row["column_name"] for row in db.run("all_columns") if row["column_name"] != "file_content"]
    query = sql.SQL("SELECT {} FROM {} WHERE id = %s").format(
        sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(db.settings.files)
    )
    with db.connection() as connection:
        return connection.execute(query, (id,)).fetchone() or {}
