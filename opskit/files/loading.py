"""The processor `load_table`: a file's rows into a table of PostgreSQL, in one transaction with its completion."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.readers import open_table
from opskit.files.table import Table

if TYPE_CHECKING:
    Connection = psycopg.Connection[dict[str, Any]]

_LONGEST_NAME = 63
_REFUSED = ("22", "54")  # classes of SQLSTATE that speak of the data, or of their size


def load_table(file: ClaimedFile) -> dict[str, Any]:
    """Load a CSV, TSV, JSON lines, Parquet or Excel file into a PostgreSQL table, each row exactly once.

    The table is named for the file: "loaded_sales" for sales.csv, with the environment's prefix. It is made
    when it is missing, and given the columns that it lacks; a file of the same name adds its rows, and
    `_file_id` says which file a row came from. Rows and completion commit together, or neither.

    CSV and TSV are text columns, an empty field is NULL, and their bytes go to COPY as they are (UTF-8). JSON
    lines are text, jsonb where a value is nested; Excel's first sheet is text; Parquet keeps its types.

    Args:
        file: The claimed file.

    Returns:
        "table", "rows" (how many were loaded) and "columns" (their names in the table).

    Raises:
        Reject: The file is no table, or a broken one; the sentence names the line where it is known.
        ClaimLostError: Somebody else has the file now; nothing was written.
        MissingExtraError: Parquet and Excel need opskit[formats].
    """
    with open_table(file) as table, file.completing() as connection:
        name = table_name(file)
        # A load takes as long as it takes: the node watches its progress, a statement timeout cannot.
        connection.execute(
            "SELECT set_config('opskit.file_id', %s, true), set_config('statement_timeout', '0', true)", (file.id,)
        )
        try:
            _provide(connection, name, table.columns)
            rows = _copy(connection, name, table)
        except psycopg.Error as error:
            if (error.sqlstate or "")[:2] not in _REFUSED:
                raise
            raise _rejection(file, table, error) from error
    return {"table": name, "rows": rows, "columns": list(table.columns)}


def table_name(file: ClaimedFile) -> str:
    """The table that `load_table` loads a file into."""
    prefix = f"{file.table_prefix}loaded_"
    plain = unicodedata.normalize("NFKD", PurePath(file.name).stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "_", plain).strip("_")
    return prefix + (slug[: _LONGEST_NAME - len(prefix)].strip("_") or "file")


def _provide(connection: Connection, name: str, columns: dict[str, str]) -> None:
    """Make the table, or add the columns that it lacks; nothing, and no lock, when all is there."""
    table = sql.Identifier(name)
    there = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        (table.as_string(connection),),
    )
    missing = {"_file_id": "text"} | columns
    for row in there:
        missing.pop(row["attname"], None)
    if not missing:
        return
    # Two nodes that make the same table would trip over each other, IF NOT EXISTS or not.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(table))
    additions = (
        sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(column), sql.SQL(kind))
        for column, kind in missing.items()
    )
    connection.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(additions)))
    if "_file_id" in missing:
        # A default of its own step: given with the column, it would name this file in rows that were there before.
        default = "ALTER TABLE {} ALTER COLUMN _file_id SET DEFAULT current_setting('opskit.file_id', true)"
        connection.execute(sql.SQL(default).format(table))


def _copy(connection: Connection, name: str, table: Table) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER {}, DELIMITER {}, ENCODING 'UTF8')").format(
        sql.Identifier(name),
        sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        sql.SQL("true" if table.header else "false"),
        sql.Literal(table.delimiter),
    )
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for block in table.blocks:
                copy.write(block)
        return cursor.rowcount


def _rejection(file: ClaimedFile, table: Table, error: psycopg.Error) -> Reject:
    found = re.search(r"line (\d+)", error.diag.context or "")
    where = f", {'line' if table.header else 'row'} {found[1]}" if found else ""
    return Reject(f"{file.name}{where}: {error.diag.message_primary}")
