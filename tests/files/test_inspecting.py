"""Inspecting files: kinds told apart, rows counted, little memory."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from opskit.errors import Reject
from opskit.files import text
from opskit.files.inspecting import inspect_file
from tests.support.loads import MakeFile, RealDesk, claimed, workbook
from tests.support.sample_files import SAMPLES, csv_rows

# -- inspect_file ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("empty.csv", b"", {"kind": "empty"}),
        ("header.csv", b"a,b\n", {"kind": "csv", "rows": 0}),
        ("no_header_end.csv", b"a,b", {"kind": "csv", "rows": 0}),
        ("plain.csv", b"a,b\n1,2\n3,4\n", {"kind": "csv", "rows": 2}),
        ("no_final_newline.csv", b"a,b\n1,2\n3,4", {"kind": "csv", "rows": 2}),
        ("windows.csv", b"a,b\r\n1,2\r\n3,4\r\n", {"kind": "csv", "rows": 2}),
        ("empty_lines_at_the_end.csv", b"a,b\n1,2\n\n\r\n", {"kind": "csv", "rows": 1}),
        ("quoted.csv", b'a,b\n"1\n1","2 ""x""\n\n2"\n3,4\n', {"kind": "csv", "rows": 2}),
        ("quoted_end.csv", b'a\n"1\n\n"', {"kind": "csv", "rows": 1}),
        ("quoted.TSV", b'a\tb\n"1\n1"\t2\n', {"kind": "tsv", "rows": 1}),
        ("lines.ndjson", b'{"a": "\\""}\n{}\n\n', {"kind": "jsonl", "rows": 2}),
        ("notes.md", "ä\nb\n\n".encode(), {"kind": "text", "lines": 3}),
        ("latin.txt", "ä\nb".encode("latin-1"), {"kind": "text", "lines": 2}),
        ("whole.json", b"{}", {"kind": "json"}),
        ("noise.csv", b"a,b\n\0\n", {"kind": "binary"}),
        ("noise", bytes(range(256)), {"kind": "binary"}),
        ("shot.csv", b"\x89PNG\r\n\x1a\n\0\0", {"kind": "png"}),
        ("paper", b"%PDF-1.7\n", {"kind": "pdf"}),
        ("packed.csv", b"\x1f\x8b\x08\0", {"kind": "gzip"}),
        ("par.csv", b"PAR1,PAR2\n1,2\n", {"kind": "csv", "rows": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_edge_cases_are_told_apart(make_file: MakeFile, name: str, content: bytes, found: dict[str, Any]) -> None:
    digest = hashlib.sha256(content).hexdigest()
    assert inspect_file(make_file(name, content)) == {"size": len(content), "sha256": digest} | found


def test_a_zip_file_is_no_workbook(make_file: MakeFile) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.txt", "hello")

    assert inspect_file(make_file("a.xlsx", target.getvalue()))["kind"] == "zip"


def test_rows_of_the_first_sheet_are_counted_whatever_its_part_is_called(make_file: MakeFile) -> None:
    book = openpyxl.Workbook()
    for number in range(3):
        book.worksheets[0].append([number])
    first = book.create_sheet("first", 0)
    for number in range(5000):
        first.append([f"<row {number}>", number])
    target = io.BytesIO()
    book.save(target)

    assert inspect_file(make_file("two.xlsx", target.getvalue()))["rows"] == 4999


def test_a_broken_workbook_is_rejected(make_file: MakeFile) -> None:
    content = workbook([["a"], [1]])

    with pytest.raises(Reject, match=r"cut\.xlsx is cut off or broken"):
        inspect_file(make_file("cut.xlsx", content[: len(content) - 200]))


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_rows_do_not_depend_on_where_blocks_end(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    content = b'a,b\r\n"1\n""\n",2\r\n,""\r\n"\n\n",""""\r\n5,6\r\n\r\n'
    file = make_file("quoted.csv", content)
    monkeypatch.setattr(text, "BLOCK", block)

    assert inspect_file(file)["rows"] == len(csv_rows(content.decode())[1:-1]) == 4


def test_a_large_file_takes_a_few_megabytes_of_memory(make_file: MakeFile) -> None:
    line = b'"17","some text, with a comma","2024-01-02"\n'
    per_block = 16_000
    file = make_file("large.csv", line)
    path = Path(file.storage_path or "")
    with path.open("wb") as target:
        for _ in range(2**26 // (len(line) * per_block)):
            target.write(line * per_block)
    tracemalloc.start()

    found = inspect_file(file)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found["size"] == path.stat().st_size > 6e7
    assert found["rows"] == found["size"] // len(line) - 1
    assert peak < 8e6


def test_what_is_read_is_reported_as_progress() -> None:
    desk = RealDesk()
    path = SAMPLES / "seattle-weather.csv"

    inspect_file(claimed(path, desk))

    assert desk.reported[-1] == (path.stat().st_size, path.stat().st_size)


def test_a_node_that_inspects_files_loads_no_heavy_package() -> None:
    heavy = "{'pyarrow', 'openpyxl', 'pandas', 'numpy', 'fsspec'}"
    code = f"import sys, opskit.processors; assert not {heavy} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=SAMPLES.parent)
