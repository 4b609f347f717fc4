"""A file through `load_table` and through an independent reader: the same, or rejected.

What differs by a decision stands in docs/howto/loading.md and is taken into account here: an empty field of CSV is
NULL, an empty line at the end of a file is no row.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
import python_calamine
from psycopg import sql
from psycopg.rows import tuple_row

from opskit.errors import Reject
from opskit.files import text
from opskit.files.claimed import ClaimedFile
from opskit.files.formats import json_lines
from opskit.files.inspecting import inspect_file
from opskit.files.loading import load_table, table_name
from tests.support.loads import Connection, RealDesk, claimed


class Differ(RealDesk):
    """Loads a file, looks at the rows, and rolls everything back."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        super().__init__(connection)
        self.folder = folder
        self.found: list[tuple[Any, ...]] = []
        self.as_text = False
        self.tally: Counter[str] = Counter()
        self.duckdb = duckdb.connect(config={"threads": 1})

    @contextlib.contextmanager
    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> Iterator[Connection]:
        assert self.connection is not None
        with self.connection.transaction(force_rollback=True):
            yield self.connection
            names = [
                row["attname"]
                for row in self.connection.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 1 ORDER BY attnum",
                    (sql.Identifier(table_name(file)).as_string(self.connection),),
                )
            ]
            form = sql.SQL("{}::text") if self.as_text else sql.SQL("{}")
            query = sql.SQL("SELECT {} FROM {} ORDER BY ctid").format(
                sql.SQL(", ").join(form.format(sql.Identifier(name)) for name in names),
                sql.Identifier(table_name(file)),
            )
            with self.connection.cursor(row_factory=tuple_row) as cursor:
                self.found = cursor.execute(query).fetchall()

    def load(self, name: str, content: bytes, *, as_text: bool = False) -> dict[str, Any] | None:
        """Load a file; what the loader says, or None when it was rejected. Its rows are counted as they are loaded."""
        (self.folder / name).write_bytes(content)
        file = claimed(self.folder / name, self)
        self.as_text = as_text
        try:
            loaded = load_table(file)
        except Reject as error:
            loaded, said = None, str(error)
        if loaded is None:
            assert said.startswith(name)
            assert "\n" not in said
            self.tally["rejected"] += 1
            return None
        self.tally["loaded"] += 1
        assert inspect_file(file).get("rows", loaded["rows"]) == loaded["rows"] == len(self.found)
        return loaded


# -- CSV -----------------------------------------------------------------------------------------


def written_csv(differ: Differ, content: bytes, header: list[str], rows: list[list[str]]) -> None:
    """CSV as a program wrote it: its rows are those that the program was given."""
    loaded = differ.load("a.csv", content)
    if loaded is None:
        return
    assert loaded["columns"] == [name.strip() for name in header]
    assert [[cell or "" for cell in row] for row in differ.found] == rows


def any_text(differ: Differ, content: str) -> None:
    """Any text as CSV: as Python's reader reads it."""
    loaded = differ.load("a.csv", content.encode())
    if loaded is None:
        return
    rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=loaded["delimiter"]))
    header, *rows = rows
    while rows and not rows[-1]:
        rows.pop()
    expected = [row or [""] for row in rows]
    assert all(len(row) == len(header) for row in expected)
    assert [[cell or "" for cell in row] for row in differ.found] == expected


# -- JSON lines ----------------------------------------------------------------------------------


def exactly(text: str) -> Any:
    """A JSON value with all its digits."""
    return json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


def written_json(differ: Differ, records: list[dict[str, Any]], *, escaped: bool, blanks: str, block: int) -> None:
    """JSON lines: each value is what Python wrote."""
    lines = [json.dumps(record, ensure_ascii=escaped) for record in records]
    # With small blocks most of the file is beyond the part that is looked through for keys.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        patch.setattr(json_lines, "_FIRST_PORTION", block)
        loaded = differ.load("a.jsonl", blanks.join(lines).encode(), as_text=True)
    keys = list(dict.fromkeys(key for record in records for key in record))
    if loaded is None:
        assert not keys
        return
    nested = {key for record in records for key, value in record.items() if isinstance(value, (list, dict))}
    for record, row in zip(records, differ.found, strict=True):
        for key, found in zip(keys, row, strict=True):
            value = record.get(key)
            if value is None:
                assert found is None
            elif key in nested:
                assert exactly(found) == exactly(json.dumps(value))
            else:
                assert found == (value if isinstance(value, str) else json.dumps(value))


# -- Parquet and Excel ---------------------------------------------------------------------------


def written_parquet(differ: Differ, content: bytes) -> None:
    """Parquet: as DuckDB reads it."""
    assert differ.load("a.parquet", content) is not None
    assert differ.found == differ.duckdb.execute(f"SELECT * FROM '{differ.folder / 'a.parquet'}'").fetchall()


def shown(value: Any) -> str | None:
    """What calamine's value is as text."""
    if value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return f"{value.isoformat()}T00:00:00"
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def written_workbook(differ: Differ, content: bytes) -> None:
    """Excel: as calamine reads it."""
    assert differ.load("a.xlsx", content) is not None
    _, *read = python_calamine.load_workbook(io.BytesIO(content)).get_sheet_by_index(0).to_python()
    expected = [tuple(map(shown, row)) for row in read if any(cell != "" for cell in row)]
    assert [tuple(row) for row in differ.found] == expected
