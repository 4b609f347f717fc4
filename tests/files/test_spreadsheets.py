"""Spreadsheets of other formats: as text, in a process of its own that may take little memory."""

from __future__ import annotations

import datetime
import io
from importlib.util import find_spec

import pytest
import xlwt

from opskit.errors import MissingExtraError, Reject
from opskit.files.formats import spreadsheet
from tests.support.loads import Connection, Load, refused, rows_of
from tests.support.spreadsheets import ods, open_document, xls

EMPTY_ROWS = (
    '<table:table-row table:number-rows-repeated="1048574"><table:table-cell table:number-columns-repeated="16384"/>'
    "</table:table-row>"
)
"""What LibreOffice writes after the last row."""


def test_an_xls_file_arrives_as_text(connection: Connection, load: Load) -> None:
    loaded = load("a.xls", xls([("a", "b", "c"), (1, 2.5, True), ("x", 'q"\n', None), (None, None, None)]))

    assert rows_of(connection, loaded) == [("1", "2.5", "true"), ("x", 'q"\n', None)]


def test_an_ods_file_arrives_as_text(connection: Connection, load: Load) -> None:
    row = (
        '<table:table-row><table:table-cell office:value-type="date" office:date-value="2024-02-29"/>'
        '<table:table-cell office:value-type="boolean" office:boolean-value="true"/></table:table-row>'
    )
    header = (
        '<table:table-row><table:table-cell office:value-type="string"><text:p>day</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>ok</text:p></table:table-cell></table:table-row>'
    )

    loaded = load("a.ods", open_document(("Länder", header + row + EMPTY_ROWS), ("Other", "")))

    assert rows_of(connection, loaded) == [("2024-02-29T00:00:00", "true")]
    assert (loaded["sheet"], loaded["other_sheets"]) == ("Länder", ["Other"])


def test_hidden_sheets_are_passed_over_and_one_can_be_chosen(connection: Connection, load: Load) -> None:
    book = xlwt.Workbook()
    for number, name in enumerate(("Secret", "Data", "More")):
        sheet = book.add_sheet(name)
        sheet.visibility = number == 0
        sheet.write(0, 0, name)
        sheet.write(1, 0, datetime.datetime(2024, 2, 29, 12, 30), xlwt.easyxf(num_format_str="yyyy-mm-dd hh:mm"))
    book.set_active_sheet(1)
    target = io.BytesIO()
    book.save(target)

    loaded = load("a.xls", target.getvalue())
    chosen = load("b.xls", target.getvalue(), sheet="More")

    assert (loaded["sheet"], loaded["columns"], chosen["columns"]) == ("Data", ["Data"], ["More"])
    assert rows_of(connection, loaded) == [("2024-02-29T12:30:00",)]
    with pytest.raises(Reject, match=r"c\.xls has no sheet 'None'; there are 'Secret', 'Data', 'More'"):
        load("c.xls", target.getvalue(), sheet="None")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0" + bytes(999), r"a\.xls cannot be read: "),
        ("a.ods", ods([]), r"a\.ods has no columns"),
        ("a.ods", ods([("a",), ("1", "2")]), r"a\.ods, row 2: 2 cells under a header of 1"),
    ],
)
def test_a_spreadsheet_that_cannot_be_loaded_is_rejected_in_a_sentence(
    connection: Connection, load: Load, name: str, content: bytes, sentence: str
) -> None:
    refused(connection, load, name, content, sentence)


def test_a_cell_in_the_last_corner_takes_no_more_memory_than_there_may_be(load: Load) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("S")
    sheet.write(0, 0, "a")
    sheet.write(65535, 255, "b")
    target = io.BytesIO()
    book.save(target)

    with pytest.raises(Reject, match=r"a\.xls takes more than 200 MB or too long to read; save it as \.xlsx or as CSV"):
        load("a.xls", target.getvalue())


def test_a_missing_library_is_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheet, "find_spec", lambda name: None if name == "python_calamine" else find_spec(name))

    with pytest.raises(
        MissingExtraError, match=r"python-calamine is not installed; run: pip install 'opskit\[formats\]'"
    ):
        load("a.xls", xls([("a",)]))
