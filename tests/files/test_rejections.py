"""Files that are rejected, in one sentence, and errors that are not the files' fault."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from opskit.errors import MissingExtraError, Reject
from opskit.files.loading import load_table
from tests.support.loads import Connection, Load, RealDesk, claimed, parquet, refused, tables, types_of, workbook

REJECTED = [
    ("empty.csv", b"", r"empty\.csv is empty; CSV, TSV and JSON lines .*Excel"),
    ("a.txt", b"hello\n", r"a\.txt is of the kind text; if it is a table, name it \.csv"),
    ("a.json", b"{}", "of the kind json"),
    ("a.csv", b"a,b\n\0,1\n", "of the kind binary"),
    ("a.csv", b"\n1,2\n", "line 1: there is no header"),
    ("a.csv", b",,\n1,2,3\n", "line 1: there is no header"),
    ("a.csv", b'"a"x,b\n', "line 1: the header cannot be read"),
    ("wide.csv", b"a,b\n1,2\n1,2,3\n", r"wide\.csv, line 3: extra data after last expected column"),
    ("narrow.csv", b"a,b\n1,2\n\n3,4\n", r'narrow\.csv, line 3: missing data for column "b"'),
    ("open.csv", b'a,b\n1,2\n3,"4\n', r"open\.csv, line 3: unterminated CSV quoted field"),
    ("latin.csv", b"a,b\n1,2\n\xe4,3\n", r"latin\.csv, line 3: not UTF-8 \(byte 0xe4\)"),
    ("end.csv", b"a\n1\n\\.\n2\n", r"a line that is only \\\."),
    ("end.csv", b"a\n1\n\\.", r"a line that is only \\\."),
    ("end.csv", b'"a\n\\.\n"\n1\n\\.\r\n', r"a line that is only \\\."),
    ("many.csv", b",".join(b"c%d" % n for n in range(1600)) + b"\n", "more columns than a table can have, 1599"),
    ("a.jsonl", b'{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: Expecting value"),
    ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl, line 2: not a JSON object"),
    ("a.jsonl", b'{"a": 1}\n\n{"a": "\xe4"}', r"a\.jsonl, line 3: invalid byte sequence"),
    ("a.jsonl", b'{"a": "\\ud800"}', r"half a character \(\\ud800\)"),
    ("a.jsonl", b'{"a": "1"}\n{"a": "\\u0000"}', r"a\.jsonl, line 2: invalid byte sequence"),
    ("a.jsonl", b"{}\n", "has no columns"),
    ("a.jsonl", b"[" * 100_000, "line 1: "),
    ("a.xlsx", workbook([["a"], [1, 2]]), r"a\.xlsx, row 2: 2 cells under a header of 1"),
    ("a.xlsx", workbook([]), "has no columns"),
    ("a.xlsx", workbook([["a"], [1]])[:-200], r"a\.xlsx is cut off or broken"),
    ("a.parquet", parquet(pa.table({"a": ["x" * 99] * 99}))[:-60], r"a\.parquet is cut off or broken"),
]


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize(("name", "content", "sentence"), REJECTED)
def test_a_bad_file_is_rejected_in_one_sentence_and_nothing_stays(
    connection: Connection, load: Load, name: str, content: bytes, sentence: str
) -> None:
    refused(connection, load, name, content, sentence)


def test_a_broken_page_in_a_parquet_file_is_rejected(connection: Connection, load: Load) -> None:
    content = bytearray(parquet(pa.table({"a": [f"text {number}" for number in range(9000)]}), use_dictionary=False))
    content[60:3000] = bytes(2940)

    with pytest.raises(Reject, match=r"a\.parquet cannot be read"):
        load("a.parquet", bytes(content))

    assert tables(connection) == []


def test_bytes_that_are_not_utf_8_far_into_a_file_are_rejected_with_their_line(
    connection: Connection, load: Load
) -> None:
    content = b"a,b\n" + b"some text,some more text\n" * 60_000 + b"\xe4,1\n" + b"1,2\n" * 10

    with pytest.raises(Reject, match=r'a\.csv, line 60002: invalid byte sequence for encoding "UTF8": 0xe4'):
        load("a.csv", content)

    assert tables(connection) == []


def test_values_that_do_not_fit_a_table_that_is_there_are_rejected(connection: Connection, load: Load) -> None:
    connection.execute("CREATE TABLE dev_loaded_a (n bigint, _file_id text)")

    with pytest.raises(Reject, match=r'a\.csv, line 3: invalid input syntax for type bigint: "x"'):
        load("a.csv", b"n,new\n1,\nx,\n")

    assert "new" not in types_of(connection, "dev_loaded_a")
    assert connection.execute("SELECT FROM dev_loaded_a").rowcount == 0


def test_a_database_error_that_is_not_the_files_fault_is_not_a_rejection(connection: Connection, load: Load) -> None:
    connection.execute("CREATE VIEW dev_loaded_a AS SELECT 1 AS n, '' AS _file_id")

    with pytest.raises(psycopg.Error):
        load("a.csv", b"n\n1\n")


def test_storage_that_fails_is_not_a_rejection(desk: RealDesk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_table(claimed(tmp_path / "gone.csv", desk))


def test_a_missing_package_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet(pa.table({"a": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtraError, match=r"pyarrow is not installed; run: pip install 'opskit\[formats\]'"):
        load("a.parquet", content)
