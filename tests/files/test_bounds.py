"""Small files that would fill a node's memory, or keep it busy: each ends within seconds, in one sentence or loaded."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
import zstandard

from tests.files.test_excel_exactness import sheet_of, written_by_hand
from tests.support.binary_workbooks import xlsb
from tests.support.spreadsheets import open_document

# Of the processor: other work on the machine is not the file's fault.
MOST_SECONDS, MOST_MEGABYTES = 10.0, 300.0
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import psycopg
from psycopg.rows import dict_row
from opskit.errors import Reject
from opskit.processors import inspect_file, load_table
from tests.support.loads import RealDesk, claimed
path, url, processor = sys.argv[1:]
with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
    began, start = time.monotonic(), time.process_time()
    try:
        said = globals()[processor](claimed(Path(path), RealDesk(connection)))
    except Reject as error:
        said = str(error)
    wall = time.monotonic() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in used) - start
own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
peak = max(int(own.split()[1]), used[1].ru_maxrss)
print(json.dumps([said, seconds, peak / 1024, wall]))
"""


def packed_parts(parts: dict[str, Callable[[Any], None]], base: bytes | None = None) -> bytes:
    """A workbook with some of its parts written by functions, however large."""
    target = io.BytesIO()
    base = base or written_by_hand(sheet_of('<row r="1"><c r="A1" t="str"><v>h</v></c></row>'))
    with zipfile.ZipFile(io.BytesIO(base)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            if name not in parts:
                archive.writestr(name, source.read(name), source.getinfo(name).compress_type)
        for name, write in parts.items():
            with archive.open(name, "w", force_zip64=True) as part:
                write(part)
    return target.getvalue()


def times(piece: bytes, count: int, before: bytes = b"", after: bytes = b"") -> Callable[[Any], None]:
    def write(part: Any) -> None:
        part.write(before)
        for _ in range(count):
            part.write(piece)
        part.write(after)

    return write


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, **options)
    return target.getvalue()


def dictionary_bomb(rows: int, megabytes: int, kind: pa.DataType | None = None) -> bytes:
    values = pa.array(["x" * (megabytes << 20)], kind or pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), values)
    return parquet_of(pa.table({"c": column}), compression="zstd")


def nested_bomb(nest: Callable[[pa.Array], pa.Array]) -> bytes:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 4096, pa.int32()), pa.array(["x" * (1 << 20)]))
    return parquet_of(pa.table({"c": nest(values)}), compression="zstd")


def listed(ends: list[int], values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


def sparse(kind: str) -> bytes:
    """A spreadsheet with a cell in two opposite corners, or with one that is repeated everywhere."""
    rows = (
        '<table:table-row><table:table-cell office:value-type="string"><text:p>a</text:p></table:table-cell>'
        "</table:table-row>"
        '<table:table-row table:number-rows-repeated="1048574"><table:table-cell/></table:table-row>'
        '<table:table-row><table:table-cell table:number-columns-repeated="16383"/>'
        '<table:table-cell office:value-type="string"><text:p>b</text:p></table:table-cell></table:table-row>'
    )
    if kind == "repeated":
        rows = (
            '<table:table-row table:number-rows-repeated="1048576"><table:table-cell '
            'table:number-columns-repeated="16384" office:value-type="string"><text:p>a</text:p></table:table-cell>'
            "</table:table-row>"
        )
    return open_document(("S", rows))


def repeated(rows: int, columns: int, text: str = "a") -> bytes:
    """A spreadsheet with one cell that says that it is there so often."""
    cell = f'<table:table-cell table:number-columns-repeated="{columns}" office:value-type="string">'
    row = f'<table:table-row table:number-rows-repeated="{rows}">{cell}<text:p>{text}</text:p></table:table-cell>'
    return open_document(("S", f"{row}</table:table-row>"))


def of_content(write: Callable[[Any], None]) -> bytes:
    """An .ods file whose content is written by a function."""
    return packed_parts({"content.xml": write}, open_document(("S", "")))


def laughing() -> bytes:
    laughs = "<!DOCTYPE w [" + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    source = io.BytesIO(open_document(("S", "")))
    content = zipfile.ZipFile(io.BytesIO(repeated(1, 1, "&a11;"))).read("content.xml")
    return packed_parts({"content.xml": times(content, 1, f'{laughs}<!ENTITY a0 "ha">]>'.encode())}, source.getvalue())


def binary_of(write: Callable[[Any], None]) -> bytes:
    """An .xlsb file whose sheet is written by a function."""
    return packed_parts({"xl/worksheets/sheet1.bin": write}, xlsb([("S", [("a",), (1,)], False)]))


def many_texts() -> bytes:
    target = io.BytesIO()
    with xlsxwriter.Workbook(target) as book:
        book.add_worksheet().write_row(0, 0, ["a"])
    si = b"<si><t>" + b"x" * 1000 + b"</t></si>"
    begin = b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    return packed_parts({"xl/sharedStrings.xml": times(si * 1000, 1000, begin, b"</sst>")}, target.getvalue())


CELL = '<row r="2"><c r="A2"><v>1</v></c></row>'
HEADER = '<row r="1"><c r="A1" t="str"><v>h</v></c></row>'
SHEET = "xl/worksheets/sheet1.xml"
BEGIN = sheet_of(HEADER)[: -len("</sheetData></worksheet>")].encode()
BLANKS = b" " * (1 << 20)
LAUGHS = "<!DOCTYPE w [" + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(12)) + "]>"
DIGITS = b"9" * 10**6
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a workbook part of blanks": ("a.xlsx", lambda: packed_parts({"xl/workbook.xml": times(BLANKS, 1500)})),
    "relations of blanks": ("a.xlsx", lambda: packed_parts({"xl/_rels/workbook.xml.rels": times(BLANKS, 500)})),
    "styles of blanks": ("a.xlsx", lambda: packed_parts({"xl/styles.xml": times(BLANKS, 500)})),
    "a sheet without a tag": ("a.xlsx", lambda: packed_parts({SHEET: times(b"a" * (1 << 20), 400, BEGIN)})),
    "a sheet of nothing": ("a.xlsx", lambda: packed_parts({SHEET: times(b"a" * (1 << 20), 400)})),
    "a sheet of one comment": ("a.xlsx", lambda: packed_parts({SHEET: times(BLANKS, 400, BEGIN + b"<!--")})),
    "a cell of 400 MB": (
        "a.xlsx",
        lambda: packed_parts({SHEET: times(b"a" * (1 << 20), 400, BEGIN + b'<row r="2"><c r="A2" t="str"><v>')}),
    ),
    "a row of empty cells": ("a.xlsx", lambda: packed_parts({SHEET: times(b"<c/>" * 9999, 9999, BEGIN + b"<row>")})),
    "rows of nothing": ("a.xlsx", lambda: packed_parts({SHEET: times(b"<row/>" * 9999, 9999, BEGIN)})),
    "an attribute of 400 MB": ("a.xlsx", lambda: packed_parts({SHEET: times(BLANKS, 400, BEGIN + b'<row a="')})),
    "a row number of two billion": (
        "a.xlsx",
        lambda: written_by_hand(sheet_of(HEADER + '<row r="2000000000"><c r="A2"><v>1</v></c></row>')),
    ),
    "a row number of a million digits": (
        "a.xlsx",
        lambda: written_by_hand(sheet_of(HEADER + f'<row r="{"9" * 10**6}"><c><v>1</v></c></row>')),
    ),
    "a number of a million digits": (
        "a.xlsx",
        lambda: written_by_hand(sheet_of(HEADER + f'<row r="2"><c r="A2"><v>{"9" * 10**6}</v></c></row>')),
    ),
    "a text with a number of a million digits": (
        "a.xlsx",
        lambda: written_by_hand(sheet_of(HEADER + f'<row r="2"><c r="A2" t="s"><v>{"9" * 10**6}</v></c></row>')),
    ),
    "a billion laughs": (
        "a.xlsx",
        lambda: written_by_hand(
            LAUGHS + sheet_of(HEADER + CELL)
        ),
    ),
    "a gigabyte of shared texts": ("a.xlsx", many_texts),
    "tags nested a million deep": ("a.xlsx", lambda: packed_parts({SHEET: times(b"<row>" * 9999, 100, BEGIN)})),
    "a header of 500,000 equal names": ("a.csv", lambda: b"a," * 500_000 + b"a\n1\n"),
    "a header of 500,000 empty names": ("a.csv", lambda: b'"",' * 300_000 + b"a\n1\n"),
    "a header without an end": ("a.csv", lambda: b"a" * (100 << 20)),
    "a quote without an end": ("a.csv", lambda: b'a,b\n1,"' + b"x\n" * (60 << 20)),
    "quoted line breaks without an end": ("a.csv", lambda: b"a,b\n" + b'"\n",' * (40 << 20)),
    "a line of 100 MB": ("a.csv", lambda: b"a,b\n" + b"x" * (100 << 20)),
    "line ends alone": ("a.csv", lambda: b"a,b\n" + b"\r\n" * (50 << 20)),
    "a gzip of equal rows": ("a.csv.gz", lambda: gzip.compress(b"a,b\n" + b"1,2\n" * (100 << 20), 6)),
    "a gzip of a gzip": ("a.csv.gz", lambda: gzip.compress(gzip.compress(bytes(400 << 20)))),
    "a zstd of equal rows": ("a.csv.zst", lambda: zstandard.compress(b"a,b\n" + b"1,2\n" * (200 << 20), 19)),
    "a zstd of equal JSON": ("a.jsonl.zst", lambda: zstandard.compress(b'{"a": 1}\n' * (60 << 20), 3)),
    "a gzip of members": ("a.csv.gz", lambda: gzip.compress(b"a,b\n") + gzip.compress(b"1,2\n" * 200_000) * 1000),
    "20 million lists on a JSON line": ("a.jsonl", lambda: b'{"a": [' + b"[]," * 20_000_000 + b"[]]}"),
    "5 million lists on a JSON line": ("a.jsonl", lambda: b'{"a": [' + b"[]," * 5_000_000 + b"[]]}"),
    "5 million lists and a NaN": ("a.jsonl", lambda: b'{"a": [' + b"[]," * 5_000_000 + b"NaN]}"),
    "a million keys": ("a.jsonl", lambda: json.dumps({f"k{n}": n for n in range(10**6)}).encode()),
    "a million records of other keys": (
        "a.jsonl",
        lambda: b"".join(b'{"k%d": 1}\n' % n for n in range(10**6)),
    ),
    "JSON nested a million deep": ("a.jsonl", lambda: b'{"a": ' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "a number of a million digits in JSON": ("a.jsonl", lambda: b'{"a": ' + DIGITS + b', "b": [' + DIGITS + b"]}"),
    "a dictionary of one value": ("a.parquet", lambda: dictionary_bomb(4096, 1)),
    "a dictionary of one large value": ("a.parquet", lambda: dictionary_bomb(100_000, 16)),
    "a dictionary in a list": (
        "a.parquet", lambda: nested_bomb(lambda values: listed([0, 4096], values))
    ),
    "a dictionary in lists": (
        "a.parquet", lambda: nested_bomb(lambda values: listed(list(range(4097)), values))
    ),
    "a dictionary in a struct": (
        "a.parquet", lambda: nested_bomb(lambda values: pa.StructArray.from_arrays([values], ["f"]))
    ),
    "pages of one value": (
        "a.parquet",
        lambda: parquet_of(pa.table({"c": ["x" * (1 << 20)] * 200}), use_dictionary=False, compression="zstd"),
    ),
    "300 million rows of nothing": (
        "a.parquet",
        lambda: parquet_of(pa.table({"c": pa.nulls(300_000_000)}), row_group_size=300_000_000),
    ),
    "20,000 columns": (
        "a.parquet",
        lambda: parquet_of(pa.table({f"c{n}": pa.array([1], pa.int8()) for n in range(20_000)})),
    ),
    "corners of a spreadsheet": ("a.ods", lambda: sparse("corners")),
    "cells repeated 17 billion times": ("a.ods", lambda: sparse("repeated")),
    "a row repeated a billion times": ("a.ods", lambda: repeated(10**9, 1)),
    "a cell repeated a billion times": ("a.ods", lambda: repeated(1, 10**9)),
    "a cell of a billion rows and columns": ("a.ods", lambda: repeated(10**9, 10**9)),
    "a row repeated more often than a number holds": ("a.ods", lambda: repeated(10**30, 1)),
    "a row repeated less than never": ("a.ods", lambda: repeated(-5, 1)),
    "a text of 10 MB in a million rows": ("a.ods", lambda: repeated(10**6, 1, "x" * 10**7)),
    "a spreadsheet of blanks": ("a.ods", lambda: of_content(times(BLANKS, 1500))),
    "a spreadsheet without a tag": ("a.ods", lambda: of_content(times(b"a" * (1 << 20), 400))),
    "a spreadsheet of 12 million empty tags": ("a.ods", lambda: of_content(times(b"<a/>" * 9999, 1200, b"<b>"))),
    "a spreadsheet nested a million deep": ("a.ods", lambda: of_content(times(b"<a>" * 9999, 100))),
    "spaces repeated a billion times": ("a.ods", lambda: repeated(1, 1, 'a<text:s text:c="1000000000"/>b')),
    "a billion laughs of a spreadsheet": ("a.ods", laughing),
    "a binary sheet of nothing": ("a.xlsb", lambda: binary_of(times(bytes(1 << 20), 400))),
    "a record of a quarter of a gigabyte": ("a.xlsb", lambda: binary_of(times(b"\x00\xff\xff\xff\x7f", 1))),
    "a binary row of the highest number": (
        "a.xlsb",
        lambda: binary_of(times(b"\x00\x19" + b"\xff" * 4 + bytes(21) + b"\x05\x10" + bytes(16), 1)),
    ),
    "an old workbook of sectors in a circle": (
        "a.xls", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(68) + bytes(436) + bytes(1 << 20)
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("processor", ["load_table", "inspect_file"])
@pytest.mark.parametrize("what", BOMBS)
def test_a_file_holds_no_node_longer_than_its_bytes_justify(
    database_url: str, tmp_path: Path, what: str, processor: str
) -> None:
    name, make = BOMBS[what]
    (tmp_path / name).write_bytes(make())

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / name), database_url, processor],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    said, seconds, megabytes, wall = json.loads(done.stdout)
    size = (tmp_path / name).stat().st_size
    print(f"{what}, {processor}: {size:,} bytes, {seconds:.1f} s ({wall:.1f} s), {megabytes:.0f} MB: {said}")
    assert (seconds < MOST_SECONDS, megabytes < MOST_MEGABYTES) == (True, True), (seconds, megabytes, said)
    if isinstance(said, str):
        assert "\n" not in said
        assert len(said) < 500
