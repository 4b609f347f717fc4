"""The processors that come with opskit: look at a file, or load it into a table.

Both stream: a file of any size takes a few megabytes of memory. They are also examples of how to write one.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import unicodedata
import zipfile
import zlib
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import psycopg
from psycopg import sql

from opskit.errors import Reject
from opskit.files import ClaimedFile
from opskit.formats import BLOCK, Table, kind_of, open_table

if TYPE_CHECKING:
    Connection = psycopg.Connection[dict[str, Any]]

_LONGEST_NAME = 63
_REFUSED = ("22", "54")  # classes of SQLSTATE that speak of the data, or of their size
_NEITHER_QUOTE_NOR_NEWLINE = bytes(set(range(256)) - set(b'"\n'))
_SHEET_ROW = re.compile(rb"<(?:\w+:)?row(?:\s[^>]*)?(?<!/)>")


def inspect_file(file: ClaimedFile) -> dict[str, Any]:
    """Look at a file: its size, SHA-256 and kind, and how many rows or lines it has.

    The kind is told by the file's first bytes, then by its name. One pass, any size.

    Args:
        file: The claimed file.

    Returns:
        "size" [bytes], "sha256" (hex), "kind" ("csv", "parquet", "png", …, else "text", "binary" or "empty");
        "rows" for CSV and TSV (without the header; line breaks within quotes do not count), JSON lines and
        Excel (first sheet, without the header); "lines" for text.

    Raises:
        OSError: The storage cannot be read; the attempt fails and is tried again.
    """
    with file.open() as stream:
        block = stream.read(BLOCK)
        kind = kind_of(block, file.name)
        digest, size = hashlib.sha256(), 0
        lines = _LineCount(quotes=kind in ("csv", "tsv"))
        counted = kind in ("csv", "tsv", "jsonl", "text")
        while block:
            size += len(block)
            digest.update(block)
            if counted:
                lines.add(block)
            block = stream.read(BLOCK)
        found: dict[str, Any] = {"size": size, "sha256": digest.hexdigest(), "kind": kind}
        if kind == "text":
            found["lines"] = lines.all
        elif kind == "jsonl":
            found["rows"] = lines.filled
        elif counted:
            found["rows"] = max(lines.filled - 1, 0)
        elif kind == "xlsx" and stream.seekable():
            found["rows"] = _sheet_rows(file, stream)
    return found


class _LineCount:
    """Counts lines, block by block; line breaks within double quotes are part of their line.

    Attributes:
        all: Lines, the last one too if it has no line break.
        filled: The same without the empty lines at the end of the file.
    """

    def __init__(self, *, quotes: bool) -> None:
        self._quotes, self._inside = quotes, False
        self._passed = self._pending = 0
        self._open = self._any = False

    @property
    def all(self) -> int:
        return self._passed + self._pending + self._open

    @property
    def filled(self) -> int:
        return self._passed + self._any

    def add(self, block: bytes) -> None:
        body = block.rstrip(b"\r\n")
        if body:
            self._any = True
            self._passed += self._pending + self._breaks(body)
            self._pending = 0
        if not self._inside:
            self._pending += block.count(b"\n", len(body))
        self._open = not block.endswith(b"\n")

    def _breaks(self, block: bytes) -> int:
        if not self._quotes or not (self._inside or b'"' in block):
            return block.count(b"\n")
        # Quotes side by side cancel out. What is left is short, and every second piece of it is quoted;
        # splitting the block itself is ten times slower where every field is quoted.
        marks = block.translate(None, delete=_NEITHER_QUOTE_NOR_NEWLINE).replace(b'""', b"")
        pieces = marks.split(b'"')
        breaks = sum(map(len, pieces[self._inside :: 2]))
        self._inside ^= len(pieces) % 2 == 0
        return breaks


def _sheet_rows(file: ClaimedFile, stream: io.BufferedReader) -> int:
    """Rows of a workbook's first sheet, without the header; read as a stream, with nothing but zip and XML."""
    try:
        with zipfile.ZipFile(stream) as book:
            relations = ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
            targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
            sheets = (tag for tag in ElementTree.fromstring(book.read("xl/workbook.xml")).iter())
            first = next(tag for tag in sheets if tag.tag.endswith("}sheet"))
            id = next(value for key, value in first.items() if key.endswith("}id"))
            rows, rest = 0, b""
            with book.open(posixpath.join("/xl", targets[id]).lstrip("/")) as sheet:
                while block := sheet.read(BLOCK):
                    block = rest + block
                    cut = max(block.rfind(b"<"), 0)
                    rows += len(_SHEET_ROW.findall(block, 0, cut))
                    rest = block[cut:]
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise Reject(f"{file.name} is a broken workbook: {error}") from error
    except (ElementTree.ParseError, LookupError, StopIteration) as error:
        raise Reject(f"{file.name} is a broken workbook: {error}") from error
    return max(rows - 1, 0)


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
