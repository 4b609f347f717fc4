"""The sample files, inspected and loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from opskit.files.inspecting import inspect_file
from opskit.files.loading import load_table
from tests.support.loads import Connection, RealDesk, claimed, rows_of, types_of
from tests.support.sample_files import SAMPLES, csv_rows

FILES = sorted(path for path in SAMPLES.rglob("*") if path.is_file() and path != SAMPLES / "README.md")


# -- the samples -----------------------------------------------------------------------------


def independent_count(path: Path) -> dict[str, int]:
    if path.suffix == ".xlsx":
        return {"rows": openpyxl.load_workbook(path).worksheets[0].max_row - 1}
    if path.suffix in (".csv", ".tsv"):
        return {"rows": len(csv_rows(path.read_text())) - 1}
    if path.suffix == ".jsonl":
        return {"rows": len(path.read_text().splitlines())}
    return {"lines": len(path.read_text().splitlines())} if path.suffix == ".txt" else {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_sample_is_inspected(path: Path) -> None:
    found = inspect_file(claimed(path, RealDesk()))

    content = path.read_bytes()
    kind = {".txt": "text"}.get(path.suffix, path.suffix[1:])
    expected = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "kind": kind}
    assert found == expected | independent_count(path)


def test_the_samples_are_small_and_each_has_its_source_named() -> None:
    readme = (SAMPLES / "README.md").read_text()

    assert sum(path.stat().st_size for path in FILES) < 300_000
    assert all(path.stat().st_size < 60_000 for path in FILES)
    named = [line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")]
    assert sorted(named) == sorted(str(path.relative_to(SAMPLES)) for path in FILES)


def test_every_sample_table_is_loaded_with_the_rows_that_were_counted(connection: Connection, desk: RealDesk) -> None:
    for path in FILES:
        if path.suffix not in (".json", ".txt"):
            loaded = load_table(claimed(path, desk))

            counted = inspect_file(claimed(path, desk)).get("rows", loaded["rows"])
            assert loaded["rows"] == len(rows_of(connection, loaded)) == counted


def test_a_sample_csv_is_loaded_as_it_is(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "us-employment.csv"

    loaded = load_table(claimed(path, desk))

    header, *rows = csv_rows(path.read_text())
    assert loaded["table"] == "dev_loaded_us_employment"
    assert loaded["columns"] == list(header)
    assert rows_of(connection, loaded) == rows


def test_a_sample_tsv_with_an_umlaut_in_its_name_is_loaded_as_it_is(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "Länder.tsv"

    loaded = load_table(claimed(path, desk))

    assert loaded["table"] == "dev_loaded_länder"
    assert rows_of(connection, loaded) == csv_rows(path.read_text(), "\t")[1:]


def test_a_sample_parquet_file_keeps_its_types(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "earthquakes.parquet"

    loaded = load_table(claimed(path, desk))

    records = pq.read_table(path).to_pylist()
    types = types_of(connection, loaded["table"])
    assert types["time"] == "timestamp with time zone"
    assert types["felt"] == "bigint"
    assert types["magnitude"] == "double precision"
    assert rows_of(connection, loaded) == [tuple(record.values()) for record in records]


def test_a_sample_workbook_is_loaded_as_text(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "Iowa electricity.xlsx"

    loaded = load_table(claimed(path, desk))

    _, *cells = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
    assert rows_of(connection, loaded) == [(year.isoformat(), source, str(made)) for year, source, made in cells]


def test_sample_json_lines_are_text_with_nested_values_as_jsonb(connection: Connection, desk: RealDesk) -> None:
    path = SAMPLES / "strong-earthquakes.jsonl"

    loaded = load_table(claimed(path, desk))

    records = [json.loads(line, parse_float=str, parse_int=str) for line in path.read_text().splitlines()]
    rows = [dict(zip(loaded["columns"], row, strict=True)) for row in rows_of(connection, loaded)]
    for row, record in zip(rows, records, strict=True):
        assert [float(number) for number in record.pop("coordinates")] == row.pop("coordinates")
        assert row.pop("tsunami") == str(record.pop("tsunami")).lower()
        assert row == record
