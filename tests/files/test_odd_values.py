"""Values at the edge of a format: each arrives as what it is, or its file is rejected in a sentence."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import zstandard

from tests.files.test_excel_exactness import sheet_of, written_by_hand
from tests.support.loads import Connection, Load, parquet, refused, rows_of

HEADER = '<row r="1"><c t="inlineStr"><is><t>h</t></is></c></row>'
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # a frame of zstd that holds nothing of the file


def test_an_interval_of_parquet_is_spelled_as_iso_8601_has_it(
    connection: Connection, load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "b.parquet"
    duckdb.execute(
        "COPY (SELECT INTERVAL '1 year 2 months 3 days 4.5 seconds' i UNION ALL SELECT INTERVAL '90 seconds' "
        f"UNION ALL SELECT NULL) TO '{path}' (FORMAT parquet)"
    )

    loaded = load("a.parquet", path.read_bytes())

    assert rows_of(connection, loaded) == [("P14M3DT4.500S",), ("P0M0DT90S",), (None,)]
    spans = connection.execute("SELECT i::interval::text AS i FROM dev_loaded_a").fetchall()
    assert [row["i"] for row in spans] == ["1 year 2 mons 3 days 00:00:04.5", "00:01:30", None]


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32()])
def test_a_time_before_all_that_postgresql_knows_is_rejected(
    connection: Connection, load: Load, kind: pa.DataType
) -> None:
    lowest = pa.array([-(2**31)], pa.int32()) if kind == pa.date32() else pa.array([1 - 2**63], pa.int64())

    refused(connection, load, "a.parquet", parquet(pa.table({"c": lowest.cast(kind)})), "that PostgreSQL cannot keep")


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ('t="b"><v>2</v>', "row 2: '2' is no truth value"),
        ("><v>NaN</v>", "row 2: 'NaN' is no number"),
        ("><v>inf</v>", "row 2: 'inf' is no number"),
        ("><v>1_000</v>", "row 2: '1_000' is no number"),
        ("><v>\u0661</v>", "is no number"),
        ('t="s"><v>7</v>', "row 2: a cell names a text that is not in the workbook"),
        ('t="s"><v>-1</v>', "row 2: a cell names a text that is not in the workbook"),
    ],
)
def test_a_cell_that_excel_could_not_have_is_rejected_with_its_row(
    connection: Connection, load: Load, cell: str, sentence: str
) -> None:
    refused(
        connection,
        load,
        "a.xlsx",
        written_by_hand(sheet_of(f'{HEADER}<row r="2"><c r="A2" {cell}</c></row>'), texts="<si><t>x</t></si>"),
        sentence,
    )


def test_such_a_cell_below_rows_that_are_written_alike_is_named_with_its_row(
    connection: Connection, load: Load
) -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>{7 if n == 40 else 0}</v></c></row>' for n in range(2, 60))

    refused(
        connection,
        load,
        "a.xlsx",
        written_by_hand(sheet_of(HEADER + rows), texts="<si><t>x</t></si>"),
        "row 40: a cell names a text that is not in the workbook",
    )


@pytest.mark.parametrize(
    ("content", "names", "row"),
    [
        ("id|name, first|tel;fax\n1|a, b|2;3\n", ["id", "name, first", "tel;fax"], ("1", "a, b", "2;3")),
        ("a\tb, c|d\te\n1\t2, 3|4\t5\n", ["a", "b, c|d", "e"], ("1", "2, 3|4", "5")),
        ("Preis, netto;Ort\n3,50;Rom\n", ["Preis, netto", "Ort"], ("3,50", "Rom")),
    ],
)
def test_the_delimiter_leaves_the_fewest_others_within_fields(
    connection: Connection, load: Load, content: str, names: list[str], row: tuple[str, ...]
) -> None:
    loaded = load("a.csv", content.encode())

    assert loaded["columns"] == names
    assert rows_of(connection, loaded) == [row]


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_frame_of_zstd_that_is_to_be_skipped_is_skipped(connection: Connection, load: Load, place: str) -> None:
    packed = zstandard.compress(b"a,b\n1,2\n")

    loaded = load("a.csv.zst", SKIPPED + packed if place == "before" else packed + SKIPPED)

    assert rows_of(connection, loaded) == [("1", "2")]


def test_a_tar_archive_is_refused_as_one(connection: Connection, load: Load) -> None:
    member = b"a.csv".ljust(257, b"\0") + b"ustar\x0000" + bytes(247)

    refused(connection, load, "a.csv", member + b"a,b\n1,2\n".ljust(512, b"\0"), "is a tar archive and no table")
