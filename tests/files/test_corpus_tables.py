"""A corpus of Parquet files and workbooks of other programs: each is read as an independent reader reads it."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import python_calamine

from opskit.files.inspecting import inspect_file
from tests.files.comparing import shown
from tests.files.corpus_tables import PARQUET, WORKBOOKS
from tests.files.test_excel_exactness import sheet_of, written_by_hand
from tests.support.loads import Connection, Load, RealDesk, claimed, refused, rows_of, workbook


def plain(value: Any, *, inside: bool = False) -> Any:
    """A value of a reader as the table has it: within nested values, as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(one, inside=True) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, inside=True) for one in value]
    if isinstance(value, (uuid.UUID, datetime.timedelta)):
        return str(value)
    if inside and isinstance(value, bytes):
        return rf"\x{value.hex()}"
    if inside and isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC)
    return repr(value) if isinstance(value, float) and not inside else value


def table(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows of plain values."""
    return [[plain(value) for value in row] for row in rows]


@pytest.mark.fast_cases(12)
@pytest.mark.parametrize("what", PARQUET)
def test_a_parquet_file_of_another_program_is_read_as_arrow_and_duckdb_read_it(
    connection: Connection, load: Load, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "b.parquet"
    PARQUET[what](path)

    loaded = load("a.parquet", path.read_bytes())

    found = table(rows_of(connection, loaded))
    read = pq.read_table(path)
    assert found == table(
        [tuple(row.values()) for row in read.rename_columns([str(n) for n in range(len(read.schema))]).to_pylist()]
    )
    assert loaded["rows"] == len(found)
    if what not in DUCKDB_OTHERWISE:
        duckdb.execute("SET timezone = 'UTC'")
        assert found == table(duckdb.execute(f"SELECT * FROM '{path}'").fetchall())


DUCKDB_OTHERWISE = {"nested values of DuckDB": "a map is a dict, where pyarrow has pairs"}
"""Where DuckDB has other values than pyarrow, and why."""


def _hours(rows: list[list[Any]]) -> list[list[Any]]:
    """Hours beyond a day, where calamine has a duration."""
    return [[name, "1088442:00:00" if name == "[h]:mm:ss" else value] for name, value in rows]


CALAMINE_OTHERWISE: dict[str, Callable[[list[list[Any]]], list[list[Any]]]] = {
    "days with formats": _hours,
    "errors": lambda rows: [[error, number] for error, (_, number) in zip(("#N/A", "#REF!"), rows, strict=True)],
}
"""Where calamine tells less than is in the file; docs/howto/loading.md has the decisions."""


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("what", WORKBOOKS)
def test_a_workbook_of_another_program_is_read_as_calamine_reads_it(
    connection: Connection, load: Load, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "b.xlsx"
    WORKBOOKS[what](path)

    loaded = load("a.xlsx", path.read_bytes())

    book = python_calamine.load_workbook(path)
    header, *read = book.get_sheet_by_name(loaded["sheet"]).to_python()
    expected = [[shown(cell) for cell in row] for row in read if any(cell != "" for cell in row)]
    expected = CALAMINE_OTHERWISE.get(what, lambda rows: rows)(expected)
    assert [list(row) for row in rows_of(connection, loaded)] == [row[: len(loaded["columns"])] for row in expected]
    assert len(loaded["columns"]) == len([cell for cell in header if cell != ""])
    assert inspect_file(claimed(path, RealDesk()))["rows"] == loaded["rows"]


def test_a_workbook_with_a_title_above_its_header_is_rejected(connection: Connection, load: Load) -> None:
    refused(
        connection, load, "a.xlsx", workbook([["Report"], ["a", "b"], [1, 2]]), "row 2: 2 cells under a header of 1"
    )


@pytest.mark.parametrize("form", ['t="s"><v>0</v>', 't="inlineStr"><is><t> </t></is>', 't="str"><v> </v>'])
def test_a_cell_of_a_blank_is_a_blank_though_calamine_leaves_it_out(
    connection: Connection, load: Load, form: str
) -> None:
    rows = '<row r="1"><c t="inlineStr"><is><t>a</t></is></c></row>' + f'<row r="2"><c {form}</c></row>'

    loaded = load("a.xlsx", written_by_hand(sheet_of(rows), texts="<si><t> </t></si>"))

    assert rows_of(connection, loaded) == [(" ",)]
