"""A corpus of nasty texts: each is read as Python's and DuckDB's readers read it, or rejected by a decision."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path

import duckdb
import pytest

from opskit.errors import Reject
from opskit.files.inspecting import inspect_file
from tests.files.comparing import exactly
from tests.files.corpus_texts import CSV, JSON, NOT_JSON, NOT_TAKEN, REFUSED
from tests.files.test_json_lines_exactness import as_text
from tests.support.loads import Connection, Load, RealDesk, claimed, refused, rows_of


def text_of(content: bytes) -> str:
    """A file as text, without its byte order mark."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig")


@pytest.mark.fast_cases(20)
@pytest.mark.parametrize("what", CSV)
def test_a_nasty_csv_file_is_read_as_pythons_reader_reads_it(
    connection: Connection, load: Load, tmp_path: Path, what: str
) -> None:
    loaded = load("a.csv", CSV[what])

    with_limit = csv.field_size_limit(1 << 26)
    (header, *rows) = csv.reader(io.StringIO(text_of(CSV[what]), newline=""), delimiter=loaded["delimiter"])
    csv.field_size_limit(with_limit)
    assert [[cell or "" for cell in row] for row in rows_of(connection, loaded)] == [row or [""] for row in rows]
    assert len(loaded["columns"]) == len(header)
    assert inspect_file(claimed(tmp_path / "a.csv", RealDesk()))["rows"] == loaded["rows"]


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize(
    "what", [what for what, content in CSV.items() if content[:2] not in (b"\xff\xfe", b"\xfe\xff")]
)
def test_a_nasty_csv_file_is_read_as_duckdb_reads_it(
    connection: Connection, load: Load, tmp_path: Path, what: str
) -> None:
    loaded = load("a.csv", CSV[what])

    found = duckdb.execute(
        "SELECT * FROM read_csv(?, auto_detect = false, header = true, delim = ?, quote = '\"', escape = '\"', "
        "columns = ?, nullstr = '', allow_quoted_nulls = false, max_line_size = 10000000)",
        [str(tmp_path / "a.csv"), loaded["delimiter"], {f"c{n}": "VARCHAR" for n in range(len(loaded["columns"]))}],
    ).fetchall()
    assert rows_of(connection, loaded) == found


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("what", REFUSED)
def test_a_csv_file_that_readers_read_each_in_its_own_way_is_rejected(
    connection: Connection, load: Load, what: str
) -> None:
    content, sentence = REFUSED[what]
    refused(connection, load, "a.csv", content, sentence)


@pytest.mark.parametrize("what", JSON)
def test_a_nasty_line_of_json_is_read_as_pythons_json_reads_it(connection: Connection, load: Load, what: str) -> None:
    loaded = load("a.jsonl", JSON[what])

    # Lines end by LF alone: str.splitlines() would cut a text at other characters.
    records = [json.loads(line) for line in text_of(JSON[what]).split("\n") if line.strip()]
    exact = [exactly(line) for line in text_of(JSON[what]).split("\n") if line.strip()]
    keys = list(dict.fromkeys(key for record in records for key in record))
    assert loaded["columns"] == keys
    found = as_text(connection, loaded)
    assert len(found) == len(records)
    nested = {key for record in records for key, value in record.items() if isinstance(value, (list, dict))}
    for record, row in zip(exact, found, strict=True):
        for key, cell in zip(keys, row, strict=True):
            value = record.get(key)
            if value is None or key not in nested:
                assert (cell is None) == (value is None)
            if isinstance(value, str) and key not in nested:
                assert cell == value
            elif value is not None:
                assert exactly(str(cell)) == value


@pytest.mark.parametrize("what", NOT_JSON)
def test_what_is_no_json_is_rejected_as_pythons_json_refuses_it(connection: Connection, load: Load, what: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        [json.loads(line) for line in NOT_JSON[what].decode().split("\n") if line.strip()]

    refused(connection, load, "a.jsonl", b'{"a": 0}\n' + NOT_JSON[what], r"a\.jsonl, line [23]: ")


@pytest.mark.parametrize("what", NOT_TAKEN)
def test_what_postgresql_or_a_table_cannot_keep_is_rejected_with_its_line(
    connection: Connection, load: Load, what: str
) -> None:
    content, sentence = NOT_TAKEN[what]
    assert json.loads(content) is not ...

    with pytest.raises(Reject, match=r"line 2: .*(" + sentence + ")"):
        load("a.jsonl", b'{"a": 0}\n' + content)
