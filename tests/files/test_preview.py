"""A look into a file: its first rows, lines or picture; bounded, whatever somebody has uploaded."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet
import pytest

from opskit.files import preview as looking
from opskit.files.preview import Preview, preview
from opskit.files.stored_file import kept
from opskit.settings import Settings

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def looked(name: str, content: bytes, folder: Path) -> Preview:
    """A look into a file with this content, which is kept in a folder."""
    (folder / "stored").write_bytes(content)
    row = {
        "id": "1", "original_filename": name, "storage_path": str(folder / "stored"), "file_size": len(content),
        "processing_attempt": 0, "processing_failures": 0,
    }  # fmt: skip
    return preview(kept(Settings.load({}, storage=str(folder)), row, lambda: b""))


def workbook(rows: int) -> bytes:
    book = openpyxl.Workbook()
    for number in range(rows):
        book.active.append([f"name {number}", number])
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def parquet(rows: int) -> bytes:
    target = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"n": range(rows), "of": [{"a": [1]}] * rows}), target)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "columns", "first", "rows", "more"),
    [
        ("a.csv", b'a,b\n1,"x, y"\n', ("a", "b"), ("1", "x, y"), 1, False),
        ("a.csv", b"a;b\n1;2\n", ("a", "b"), ("1", "2"), 1, False),
        ("a.tsv", b"a\tb\n1\t2\n", ("a", "b"), ("1", "2"), 1, False),
        ("a.csv", b"a,a,\n1,2,3,4\n", ("a", "a (2)", "column 3", "column 4"), ("1", "2", "3", "4"), 1, False),
        ("a.csv", b"a,b\n" + b"1,2\n" * 60, ("a", "b"), ("1", "2"), 50, True),
        ("a.jsonl", b'{"a": 1}\n{"b": [1, 2]}\n', ("a", "b"), ("1", ""), 2, False),
        ("a.xlsx", workbook(3), ("name 0", "0"), ("name 1", "1"), 2, False),
        ("a.xlsx", workbook(80), ("name 0", "0"), ("name 1", "1"), 50, True),
        ("a.parquet", parquet(3), ("n", "of"), ("0", '{"a": [1]}'), 3, False),
        ("a.parquet", parquet(3000), ("n", "of"), ("0", '{"a": [1]}'), 50, True),
    ],
)
def test_a_table_shows_its_first_rows(
    tmp_path: Path, name: str, content: bytes, columns: tuple[str, ...], first: tuple[str, ...], rows: int, more: bool
) -> None:
    found = looked(name, content, tmp_path)

    assert (found.columns, found.rows[0], len(found.rows), found.more) == (columns, first, rows, more)


def test_a_text_shows_its_first_lines_and_a_picture_its_bytes(tmp_path: Path) -> None:
    assert looked("a.log", b"one\ntwo\n", tmp_path).text == "one\ntwo"
    long = looked("a.log", b"x" * 100 + b"\n" + b"line\n" * 1000, tmp_path)
    assert (long.text.count("\n"), long.more) == (looking.LINES - 1, True)
    found = looked("a.bin", PNG, tmp_path)
    assert (found.picture, found.mime) == (PNG, "image/png")


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("content", [b"\xff\xfe\x00broken", b'"' * 100_000, b"a,b\n" + b"x" * 300_000, b"[" * 50_000])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.xlsx", "a.parquet"])
def test_a_broken_file_is_shown_as_far_as_it_goes_or_said_to_be_none(tmp_path: Path, name: str, content: bytes) -> None:
    found = looked(name, content, tmp_path)

    shown = len(found.text) + sum(len(cell) for row in (found.columns, *found.rows) for cell in row)
    assert bool(shown) != bool(found.why_not)
    assert shown < 1_000_000


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_wide_and_large_files_are_cut(tmp_path: Path, name: str) -> None:
    line = (
        json.dumps({f"key{n}": "x" * 1000 for n in range(100)}) if name == "a.jsonl" else ",".join(["x" * 1000] * 100)
    )
    found = looked(name, (line + "\n").encode() * 100, tmp_path)

    assert len(found.columns) <= looking.COLUMNS
    assert all(len(cell) <= looking.CELL + 2 for row in found.rows for cell in row)
    assert len(found.text) < 1_000_000
    assert found.more


def test_what_unpacks_to_more_than_is_allowed_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = io.BytesIO(workbook(2))
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/worksheets/more.xml", b"0" * (looking.UNPACKED_BYTES + 1))
    found = looked("a.xlsx", bomb.getvalue(), tmp_path)
    assert found.why_not == "unpacked it has more than 64 MB"

    monkeypatch.setattr(looking, "UNPACKED_BYTES", 10)
    assert looked("a.parquet", parquet(10), tmp_path).why_not.startswith("its first part has more than")
    monkeypatch.setattr(looking, "WHOLE_BYTES", 10)
    assert looked("a.png", PNG, tmp_path).why_not.startswith("only files up to")


def test_an_image_that_can_run_is_text(tmp_path: Path) -> None:
    found = looked("a.svg", b"<svg onload='alert(1)'/>", tmp_path)

    assert (found.kind, found.text, found.picture) == ("text", "<svg onload='alert(1)'/>", b"")


def test_the_rules_of_the_storage_hold_for_whoever_looks(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("password")
    row = {
        "id": "1", "original_filename": "a.txt", "storage_path": "../secret", "file_size": None,
        "processing_attempt": None, "processing_failures": 0,
    }  # fmt: skip
    settings = Settings.load({}, storage=str(tmp_path / "in"), storage_only=True)

    found = preview(kept(settings, row, lambda: b""))

    assert "outside the storage" in found.why_not
    gone = preview(kept(settings, row | {"storage_path": "gone"}, lambda: b""))
    assert gone.why_not == "the storage has no such file"


def test_what_is_in_the_row_is_shown(tmp_path: Path) -> None:
    row = {
        "id": "1", "original_filename": "a.csv", "storage_path": None, "file_size": None,
        "processing_attempt": None, "processing_failures": 0,
    }  # fmt: skip

    found = preview(kept(Settings.load({}, storage=str(tmp_path)), row, lambda: b"a,b\n1,2\n"))

    assert found.rows == (("1", "2"),)
