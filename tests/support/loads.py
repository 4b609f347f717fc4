"""Claimed files without a node: written to a folder, loaded on a real database, looked at."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql
from psycopg.rows import tuple_row

from opskit.errors import ClaimLostError, Reject
from opskit.files.claimed import ClaimedFile

Connection = psycopg.Connection[dict[str, Any]]
MakeFile = Callable[..., ClaimedFile]
Load = Callable[..., dict[str, Any]]


class RealDesk:
    """A desk with a real connection; its claim can be lost."""

    def __init__(self, connection: Connection | None = None) -> None:
        self.connection = connection
        self.lost = False
        self.reported: list[tuple[int | None, int | None]] = []

    def progress(self, done: int | None, total: int | None) -> None:
        self.reported.append((done, total))

    @contextlib.contextmanager
    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> Iterator[Connection]:
        assert self.connection is not None
        with self.connection.transaction():
            if self.lost:
                raise ClaimLostError
            yield self.connection

    def content(self, file: ClaimedFile) -> bytes:
        raise AssertionError("no test keeps its bytes in the row")

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        return {}


def claimed(path: Path, desk: RealDesk, id: str = "1", **others: Any) -> ClaimedFile:
    """A claim of a file that lies there."""
    given: dict[str, Any] = {
        "id": id,
        "original_filename": path.name,
        "storage_path": str(path),
        "file_size": None,
        "attempt": 1,
        "failures": 0,
        "server_id": "node-a",
        "token": "6f2c2f0e-5c5a-4a6e-9a52-8a3f0f6b7a10",
        "table_prefix": "dev_",
        "desk": desk,
    }
    return ClaimedFile(**given | others)


def rows_of(connection: Connection, loaded: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a loaded table, in the order in which they were written."""
    columns = sql.SQL(", ").join(map(sql.Identifier, loaded["columns"]))
    query = sql.SQL("SELECT {} FROM {} ORDER BY ctid").format(columns, sql.Identifier(loaded["table"]))
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query).fetchall()


def refused(connection: Connection, load: Load, name: str, content: bytes, sentence: str) -> None:
    """A file is rejected in one sentence, and nothing of it stays."""
    with pytest.raises(Reject, match=sentence) as caught:
        load(name, content)

    assert "\n" not in str(caught.value)
    assert tables(connection) == []


def tables(connection: Connection) -> list[str]:
    """The names of the tables that there are."""
    query = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    return [row["relname"] for row in connection.execute(query)]


def types_of(connection: Connection, table: str) -> dict[str, str]:
    """A table's columns with their types."""
    query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
    return {row["column_name"]: row["data_type"] for row in connection.execute(query, (table,))}


def workbook(rows: list[list[Any]]) -> bytes:
    """A workbook of one sheet, as openpyxl writes it."""
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def parquet(table: pa.Table, **options: Any) -> bytes:
    """A Parquet file, as pyarrow writes it."""
    target = io.BytesIO()
    pq.write_table(table, target, **options)
    return target.getvalue()
