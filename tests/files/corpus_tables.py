"""Parquet and workbooks as pandas, DuckDB, polars, pyarrow, openpyxl, xlsxwriter and LibreOffice write them.

Each is a function that writes a file to a path.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy
import openpyxl
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font

from tests.files.test_excel_exactness import sheet_of, written_by_hand

DAY = datetime.date(2024, 2, 29)
AT = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)
Write = Callable[[Path], Any]


def _pandas(frame: pandas.DataFrame, **options: Any) -> Write:
    return lambda path: frame.to_parquet(path, **options)


def _duckdb(query: str, options: str = "") -> Write:
    return lambda path: duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet{options})")


def _polars(frame: polars.DataFrame, **options: Any) -> Write:
    return lambda path: frame.write_parquet(path, **options)


def _arrow(columns: dict[str, pa.Array], **options: Any) -> Write:
    return lambda path: pq.write_table(pa.table(columns), path, **options)


WORDS = ["a", "", None, "é\n\"'\\", "a", "x" * 300]
NUMBERS = [0, -1, None, 2**63 - 1, -(2**63), 7]
PARQUET: dict[str, Write] = (
    {
        # pandas
        "a named index of pandas": _pandas(pandas.DataFrame({"a": [1, 2]}, index=pandas.Index([7, 8], name="key"))),
        "an index of words of pandas": _pandas(pandas.DataFrame({"a": [1, 2]}, index=["x", "y"])),
        "categories of pandas": _pandas(pandas.DataFrame({"c": pandas.Categorical(["b", None, "a", "b"])})),
        "ordered categories of numbers": _pandas(
            pandas.DataFrame({"c": pandas.Categorical([3, 1, None], ordered=True)})
        ),
        "numbers that may be missing": _pandas(
            pandas.DataFrame(
                {"i": pandas.array([1, None, -1], "Int64"), "b": pandas.array([True, None, False], "boolean")}
            )
        ),
        "NaN and NULL of pandas": _pandas(pandas.DataFrame({"f": [1.5, numpy.nan, numpy.inf], "s": ["a", None, ""]})),
        "moments of pandas": _pandas(pandas.DataFrame({"t": pandas.to_datetime(["2024-02-29 12:00:00.123456", ""])})),
        "moments with a zone of pandas": _pandas(
            pandas.DataFrame({"t": pandas.to_datetime(["2024-07-01 12:00", ""]).tz_localize("Europe/Rome")})
        ),
        "an empty frame of pandas": _pandas(pandas.DataFrame({"a": pandas.Series([], dtype="int64")})),
        "objects of pandas": _pandas(pandas.DataFrame({"d": [DAY, None], "x": [decimal.Decimal("1.10"), None]})),
        "lists of pandas": _pandas(pandas.DataFrame({"l": [[1, 2], None, []], "o": [{"k": 1}, None, {"k": None}]})),
        # DuckDB
        "whole numbers of DuckDB": _duckdb(
            "SELECT 1::TINYINT a, 2::SMALLINT b, 3::INTEGER c, 4::BIGINT d, 255::UTINYINT e, "
            "18446744073709551615::UBIGINT f"
        ),
        "an enum and a uuid of DuckDB": _duckdb(
            "SELECT 'b'::ENUM('a', 'b') e, '6f2c2f0e-5c5a-4a6e-9a52-8a3f0f6b7a10'::UUID u UNION ALL SELECT NULL, NULL"
        ),
        "times of DuckDB": _duckdb(
            "SELECT TIMESTAMP '1582-10-15 00:00:00.000001' t, TIME '23:59:59.999999' c, DATE '0001-01-01' d, "
            "TIMESTAMP_S '2024-01-01 00:00:00' s, TIMESTAMP_MS '1969-12-31 23:59:59.999' m"
        ),
        "instants of DuckDB": _duckdb("SELECT TIMESTAMPTZ '2024-07-01 12:00:00+02' t UNION ALL SELECT NULL"),
        "nested values of DuckDB": _duckdb(
            "SELECT [1, NULL, 3] l, {'a': 1, 'b': ['x', NULL]} s, MAP {'k': 1.5, 'j': NULL} m, [[1], [], NULL] ll"
        ),
        "decimals of DuckDB": _duckdb("SELECT 1.10::DECIMAL(4,2) a, -99999999999999999.9999999999::DECIMAL(38,10) b"),
        "bytes of DuckDB": _duckdb("SELECT '\\x00\\xFF'::BLOB a, ''::BLOB b UNION ALL SELECT NULL, 'a'::BLOB"),
        "5,000 rows of DuckDB in small groups": _duckdb(
            "SELECT range i, range % 7 = 0 b, 'x' || range % 100 s, CASE WHEN range % 3 = 0 THEN range / 7.0 END f "
            "FROM range(5000)",
            ", ROW_GROUP_SIZE 2048, CODEC 'zstd'",
        ),
        "version 2 of DuckDB": _duckdb(
            "SELECT range i, 'w' || range s, range / 3.0 f FROM range(3000)", ", PARQUET_VERSION v2"
        ),
        # polars
        "categories of polars": _polars(
            polars.DataFrame({"c": polars.Series(["b", None, "a"], dtype=polars.Categorical)})
        ),
        "moments of polars": _polars(
            polars.DataFrame({"t": [AT, None], "d": [DAY, None], "c": [AT.time(), None]}).with_columns(
                polars.col("t").dt.replace_time_zone("UTC").alias("z"),
                polars.col("t").dt.cast_time_unit("ms").alias("m"),
            )
        ),
        "nested values of polars": _polars(
            polars.DataFrame(
                {"l": [[1, None], None, []], "s": [{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": 3, "b": ""}]}
            )
        ),
        "decimals and bytes of polars": _polars(
            polars.DataFrame({"d": [decimal.Decimal("1.10"), None], "b": [b"\0\xff", None]})
        ),
        "whole numbers of polars": _polars(
            polars.DataFrame(
                {"u": polars.Series([255, None], dtype=polars.UInt8), "i": polars.Series([-128, 1], dtype=polars.Int8)}
            )
        ),
        "9,000 rows of polars": _polars(
            polars.DataFrame({"i": range(9000), "s": [f"w{n % 50}" for n in range(9000)]}),
            compression="lz4",
            row_group_size=1000,
        ),
        # pyarrow, and what it takes to look like Spark, Hive and others
        "moments of Spark": _arrow(
            {"t": pa.array([AT, None], pa.timestamp("us"))}, use_deprecated_int96_timestamps=True
        ),
        "names and version of Hive": _arrow({"a": pa.array([1, None])}, version="1.0", flavor="spark"),
        "no statistics and no dictionaries": _arrow(
            {"a": pa.array(WORDS)}, write_statistics=False, use_dictionary=False
        ),
        "an index of pages": _arrow({"a": pa.array(WORDS * 500)}, write_page_index=True, data_page_size=512),
        "lists in small pages": _arrow(
            {"a": pa.array([[1, 2, None], [], None] * 900)}, data_page_size=256, data_page_version="2.0"
        ),
        "a column of NULL": _arrow({"a": pa.nulls(3), "b": pa.array([1, 2, 3])}),
        "columns of one name in another case": _arrow({"a": pa.array([1]), "A": pa.array([2])}),
        "no rows": _arrow({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string())}),
        "many empty groups": lambda path: _groups(path, [0, 2, 0, 1, 0]),
        "structs within structs": _arrow(
            {
                "s": pa.array(
                    [{"a": {"b": {"c": 1}}}, {"a": None}, None],
                    pa.struct([("a", pa.struct([("b", pa.struct([("c", pa.int8())]))]))]),
                )
            }
        ),
        "a list of structs": _arrow(
            {
                "l": pa.array(
                    [[{"a": 1, "b": "x"}, None], None, []], pa.list_(pa.struct([("a", pa.int8()), ("b", pa.string())]))
                )
            }
        ),
        "days of 64 bits": _arrow({"d": pa.array([DAY, None], pa.date64())}),
        "halves": _arrow({"h": pa.array([numpy.float16(1.5), None], pa.float16())}),
    }
    | {
        f"words in {encoding}": _arrow({"a": pa.array(WORDS * 20)}, use_dictionary=False, column_encoding=encoding)
        for encoding in ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")
    }
    | {
        f"numbers in {encoding}": _arrow({"a": pa.array(NUMBERS * 20)}, use_dictionary=False, column_encoding=encoding)
        for encoding in ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")
    }
    | {
        f"all that is packed by {codec}": _arrow(
            {"a": pa.array(WORDS * 9), "n": pa.array(NUMBERS * 9)}, compression=codec
        )
        for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd")
    }
)


def _groups(path: Path, sizes: list[int]) -> None:
    with pq.ParquetWriter(path, pa.schema([("a", pa.int64())])) as writer:
        for size in sizes:
            writer.write_table(pa.table({"a": pa.array(range(size), pa.int64())}), max(size, 1))


# -- workbooks -----------------------------------------------------------------------------------


def _openpyxl(fill: Callable[[openpyxl.Workbook, Any], Any]) -> Write:
    def write(path: Path) -> None:
        book = openpyxl.Workbook()
        fill(book, book.worksheets[0])
        book.save(path)

    return write


def _rows(*rows: list[Any]) -> Callable[[openpyxl.Workbook, Any], None]:
    def fill(book: openpyxl.Workbook, sheet: Any) -> None:
        for row in rows:
            sheet.append(row)

    return fill


def _xlsxwriter(fill: Callable[[Any, Any], Any], **options: Any) -> Write:
    def write(path: Path) -> None:
        with xlsxwriter.Workbook(path, options) as book:
            fill(book, book.add_worksheet())

    return write


def _formatted(book: openpyxl.Workbook, sheet: Any) -> None:
    sheet.append(["code", "value"])
    codes = (
        "0",
        "0.00",
        "#,##0",
        "0%",
        "0.00E+00",
        "# ?/?",
        "@",
        '"EUR" 0.00',
        "[Red]0;[Blue]-0",
        "000000",
        "[$-409]0",
    )
    for code in codes:
        sheet.append([code, 1234.5])
        sheet.cell(sheet.max_row, 2).number_format = code


def _days(book: openpyxl.Workbook, sheet: Any) -> None:
    sheet.append(["code", "value"])
    for code in (
        "yyyy-mm-dd",
        "d.m.yy",
        "mmm yy",
        "hh:mm",
        "[h]:mm:ss",
        "m/d/yy h:mm",
        'yyyy"年"m"月"',
        "[$-F800]dddd",
    ):
        sheet.append([code, 45351.75])
        sheet.cell(sheet.max_row, 2).number_format = code


def _decorated(book: openpyxl.Workbook, sheet: Any) -> None:
    for row in (["a", "b", "c"], [1, "x", None], [None, "y", 2]):
        sheet.append(row)
    sheet["A2"].comment = Comment("a note", "ann")
    sheet["B2"].hyperlink = "https://example.org/?a=1&b=2"
    sheet["B3"].font, sheet["C3"].alignment = Font(bold=True), Alignment(wrap_text=True)
    sheet.row_dimensions[3].hidden = True
    sheet.column_dimensions["B"].hidden = True
    sheet.auto_filter.ref = "A1:C3"
    sheet.freeze_panes = "A2"


def _merged(book: openpyxl.Workbook, sheet: Any) -> None:
    for row in (["a", "b"], ["x", 1], [None, 2], ["y", 3]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")


def _rich(book: Any, sheet: Any) -> None:
    bold = book.add_format({"bold": True})
    sheet.write_row(0, 0, ["a", "b"])
    sheet.write_rich_string(1, 0, "x ", bold, "bold", " y")
    sheet.write(1, 1, "plain")


def _formulas(book: Any, sheet: Any) -> None:
    sheet.write_row(0, 0, ["n", "s", "b", "e"])
    sheet.write_row(1, 0, [1, "x", True])
    sheet.write_formula(2, 0, "=A2+1", None, 2)
    sheet.write_formula(2, 1, '=B2&"y"', None, "xy")
    sheet.write_formula(2, 2, "=NOT(C2)", None, False)
    sheet.write_array_formula(3, 0, 3, 0, "{=SUM(A2:A3)}", None, 3)


def _sparse(book: Any, sheet: Any) -> None:
    sheet.write_row(0, 0, ["a", "b", "c", "d", "e"])
    sheet.write(4, 0, 1)
    sheet.write(4, 4, 5)
    sheet.write(9, 2, "x")


def _long(book: Any, sheet: Any) -> None:
    sheet.write_column(0, 0, ["a", "x" * 32_767, "\n".join(["y"] * 900), "  z  "])


def _several(book: openpyxl.Workbook, sheet: Any) -> None:
    sheet.title = "Notes"
    sheet.sheet_state = "hidden"
    for name in ("Données 2024", "Other"):
        added = book.create_sheet(name)
        added.append([name, "n"])
        added.append(["x", 1])


WORKBOOKS: dict[str, Write] = {
    "plain cells": _openpyxl(_rows(["a", "b"], [1, "x"], [2.5, True], [None, "y"], [-1e-7, False], [10**15, "é"])),
    "cells with formats": _openpyxl(_formatted),
    "days with formats": _openpyxl(_days),
    "moments": _openpyxl(
        _rows(
            ["t", "d"],
            [datetime.datetime(2024, 2, 29, 12, 0), DAY],
            [datetime.datetime(1999, 12, 31, 23, 59, 59), None],
        )
    ),
    "notes, links and hidden rows": _openpyxl(_decorated),
    "merged cells": _openpyxl(_merged),
    "rich text of openpyxl": _openpyxl(_rows(["a"], [CellRichText("x ", TextBlock(InlineFont(b=True), "bold"), " y")])),
    "errors": _openpyxl(_rows(["a", "b"], ["#N/A", 1], ["#REF!", 2])),
    "texts that look like something else": _openpyxl(
        _rows(["a", "b"], ["007", "1e5"], ["TRUE", "2024-01-01"], ["'x", "-"])
    ),
    "special characters": _openpyxl(_rows(["a&b", "<c>"], ['"x"', "a<b>&'c'"], ["\u2028", "😀"], ["tab\tx", "nl\ny"])),
    "hidden and several sheets": _openpyxl(_several),
    "a wide header": _openpyxl(_rows([f"c{n}" for n in range(300)], list(range(300)))),
    "rich text of xlsxwriter": _xlsxwriter(_rich),
    "formulas with values": _xlsxwriter(_formulas),
    "scattered cells": _xlsxwriter(_sparse),
    "long texts": _xlsxwriter(_long),
    "texts in the cells": _xlsxwriter(_long, constant_memory=True),
    "years from 1904": _xlsxwriter(
        lambda book, sheet: [
            sheet.write_row(0, 0, ["t", "n"]),
            sheet.write(1, 0, AT.replace(microsecond=0)),
            sheet.write(1, 1, 1),
        ],
        date_1904=True,
        default_date_format="yyyy-mm-dd hh:mm:ss",
    ),
}


def as_libreoffice(path: Path) -> None:
    """LibreOffice's conventions: an empty styled tail up to the last row, texts that keep their blanks."""
    texts = ("Name", "Tag", " Zoë ")
    shared = "".join(f'<si><t xml:space="preserve">{text}</t></si>' for text in texts)
    shared += '<si><r><rPr><sz val="10"/></rPr><t xml:space="preserve">zwei </t></r><r><t>Teile</t></r></si>'
    rows = (
        '<row r="1" customFormat="false" ht="12.8" hidden="false"><c r="A1" s="0" t="s"><v>0</v></c>'
        '<c r="B1" s="0" t="s"><v>1</v></c></row>'
        '<row r="2" ht="12.8"><c r="A2" s="0" t="s"><v>2</v></c><c r="B2" s="1" t="n"><v>45351</v></c></row>'
        '<row r="3" ht="12.8"><c r="A3" s="0" t="s"><v>3</v></c>'
        '<c r="B3" s="0" t="b"><f aca="false">TRUE()</f><v>1</v></c></row>'
        '<row r="4" ht="12.8"><c r="A4" s="0"/><c r="B4" s="1"/></row><row r="1048576" ht="12.8"/>'
    )
    styles = (
        '<numFmts count="2"><numFmt numFmtId="164" formatCode="General"/>'
        '<numFmt numFmtId="165" formatCode="DD.MM.YYYY"/></numFmts>'
        '<cellXfs count="2"><xf numFmtId="164"/><xf numFmtId="165"/></cellXfs>'
    )
    path.write_bytes(written_by_hand(sheet_of(rows), texts=shared, styles=styles))


WORKBOOKS["conventions of LibreOffice"] = as_libreoffice
