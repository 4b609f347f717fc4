"""Excel: dates, errors, formulas, hidden and several sheets, styled emptiness, every digit; both ways to read agree."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from openpyxl.styles import PatternFill

from opskit.errors import Reject
from opskit.files.formats.workbook import NotPlainError
from opskit.files.formats.xml_rows import SheetRows
from opskit.files.inspecting import inspect_file
from tests.support.loads import Connection, Load, MakeFile, RealDesk, claimed, rows_of, workbook

RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


@pytest.fixture(params=["expression", "parser"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read cells."""
    if request.param == "parser":

        def refuse(*_: Any) -> Any:
            raise NotPlainError

        monkeypatch.setattr(SheetRows, "_plain_rows", refuse)
    return str(request.param)


def written_by_hand(sheet: str, *, texts: str = "", styles: str = "", book: str = "") -> bytes:
    """A workbook of parts as they are given."""
    rel = "http://schemas.openxmlformats.org/package/2006/relationships"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{rel}"><Relationship Id="a" Type="{RELATIONS}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{rel}"><Relationship Id="r1" Type="{RELATIONS}/worksheet" '
            f'Target="/xl/worksheets/sheet1.xml"/><Relationship Id="r2" Type="{RELATIONS}/sharedStrings" '
            f'Target="sharedStrings.xml"/><Relationship Id="r3" Type="{RELATIONS}/styles" Target="styles.xml"/>'
            "</Relationships>",
        )
        archive.writestr(
            "xl/workbook.xml",
            book
            or f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets><sheet name="S" sheetId="1" r:id="r1"/>'
            "</sheets></workbook>",
        )
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{texts}</sst>')
        archive.writestr("xl/styles.xml", f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>')
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
    return target.getvalue()


def sheet_of(rows: str) -> str:
    return f'<?xml version="1.0"?><worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def saved(fill: Callable[[openpyxl.Workbook], Any]) -> bytes:
    book = openpyxl.Workbook()
    fill(book)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


@pytest.mark.usefixtures("way")
def test_every_kind_of_cell_is_what_the_file_says(connection: Connection, load: Load) -> None:
    at = datetime.datetime(2024, 2, 29, 12, 30, 0, 123000)
    rows: list[list[Any]] = [
        ["text", "number", "when", "other"],
        ["a\r\nb", 0.1, at, True],
        [" 1 ", 1e300, at.date(), False],
        ['"x",', -7, at.time(), "#DIV/0!"],
        ["<&>'", 123456789012345, datetime.timedelta(hours=30, seconds=1), None],
        ["_x0041_", 2.0, datetime.datetime(1900, 1, 1), 1e-9],
    ]

    loaded = load("a.xlsx", workbook(rows))

    assert rows_of(connection, loaded) == [
        ("a\nb", "0.1", "2024-02-29T12:30:00.123000", "true"),
        (" 1 ", "1e+300", "2024-02-29T00:00:00", "false"),
        ('"x",', "-7", "12:30:00.123000", "#DIV/0!"),
        ("<&>'", "123456789012345", "30:00:01", None),
        ("A", "2", "1900-01-01T00:00:00", "1e-09"),
    ]
    assert loaded["errors"] == 1
    assert loaded["sheet"] == "Sheet"


@pytest.mark.usefixtures("way")
def test_digits_beyond_a_double_are_kept_and_those_of_a_double_are_short(connection: Connection, load: Load) -> None:
    numbers = ["12345678901234567890", "0.10000000000000001", "0.1234567890123456789", "1E3", "-0", "2.50"]
    rows = '<row r="1"><c r="A1" t="inlineStr"><is><t>n</t></is></c></row>' + "".join(
        f'<row r="{n}"><c r="A{n}"><v>{number}</v></c></row>' for n, number in enumerate(numbers, 2)
    )

    loaded = load("a.xlsx", written_by_hand(sheet_of(rows)))

    found = [row[0] for row in rows_of(connection, loaded)]
    assert found == ["12345678901234567890", "0.1", "0.1234567890123456789", "1000", "0", "2.5"]


@pytest.mark.usefixtures("way")
def test_days_are_counted_as_excel_counts_them(connection: Connection, load: Load) -> None:
    days = [1, 59, 60, 61, 45351.5]
    styles = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    rows = '<row r="1"><c r="A1" t="str"><v>d</v></c></row>' + "".join(
        f'<row r="{n}"><c r="A{n}" s="1"><v>{day}</v></c></row>' for n, day in enumerate(days, 2)
    )
    mac = (
        f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><workbookPr date1904="1"/><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'
    )

    of_windows = load("w.xlsx", written_by_hand(sheet_of(rows), styles=styles))
    of_mac = load("m.xlsx", written_by_hand(sheet_of(rows), styles=styles, book=mac))

    assert [row[0][:10] for row in rows_of(connection, of_windows)] == [
        *("1900-01-01", "1900-02-28", "1900-02-29", "1900-03-01", "2024-02-29"),
    ]
    assert rows_of(connection, of_mac)[0] == ("1904-01-02T00:00:00",)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("yyyy-mm-dd", "2024-02-29T00:00:00"),
        ('d" of "mmmm', "2024-02-29T00:00:00"),
        ("[$-407]d. mmmm yyyy;@", "2024-02-29T00:00:00"),
        ("[Red]0.00", "45351"),
        ('0" days"', "45351"),
        ("General", "45351"),
        ("#,##0_);[Red](#,##0)", "45351"),
        ("[h]:mm", "1088424:00:00"),
        ('"dmy"0', "45351"),
        (r"0\d", "45351"),
    ],
)
def test_a_number_is_a_date_when_its_format_says_so(connection: Connection, load: Load, code: str, shown: str) -> None:
    def fill(book: openpyxl.Workbook) -> None:
        book.worksheets[0].append(["d"])
        book.worksheets[0]["A2"] = 45351
        book.worksheets[0]["A2"].number_format = code

    assert rows_of(connection, load("a.xlsx", saved(fill))) == [(shown,)]


@pytest.mark.usefixtures("way")
def test_a_formula_without_a_value_is_rejected_with_its_row(load: Load) -> None:
    with pytest.raises(Reject, match=r"a\.xlsx, row 3: a formula has no stored value; open the workbook in Excel"):
        load("a.xlsx", workbook([["a", "sum"], [1, 2], [1, "=A2+A3"]]))


def test_a_formula_with_a_value_is_that_value_and_is_told_where_it_may_be_old(
    connection: Connection, load: Load
) -> None:
    target = io.BytesIO()
    with xlsxwriter.Workbook(target) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write_formula(1, 0, "=1+1", None, 2)
        sheet.write_formula(1, 1, '="x"', None, "x")

    loaded = load("a.xlsx", target.getvalue())

    assert rows_of(connection, loaded) == [("2", "x")]
    assert loaded["formulas_not_calculated"] == 2


@pytest.mark.usefixtures("way")
def test_styled_emptiness_is_no_row_and_is_not_counted(connection: Connection, load: Load, tmp_path: Path) -> None:
    def fill(book: openpyxl.Workbook) -> None:
        sheet = book.worksheets[0]
        sheet.append(["a", "b"])
        sheet.append([1, 2])
        for row in range(3, 500):
            sheet.cell(row, 5).fill = PatternFill("solid", fgColor="FFFF00")
        sheet.column_dimensions["Z"].width = 40

    loaded = load("a.xlsx", saved(fill))

    assert rows_of(connection, loaded) == [("1", "2")]
    assert inspect_file(claimed(tmp_path / "a.xlsx", RealDesk()))["rows"] == 1


def test_the_first_sheet_that_is_not_hidden_is_loaded_and_the_others_are_named(
    connection: Connection, load: Load, tmp_path: Path
) -> None:
    def fill(book: openpyxl.Workbook) -> None:
        book.worksheets[0].title = "Secret"
        book.worksheets[0].append(["no"])
        book.worksheets[0].sheet_state = "hidden"
        for name, count in (("Data", 2), ("Länder", 3)):
            for row in range(count):
                book.create_sheet(name) if row == 0 else None
                book[name].append([f"{name} {row}"])
        book.create_chartsheet("Chart", 0)

    content = saved(fill)
    loaded, chosen = load("a.xlsx", content), load("b.xlsx", content, sheet="Länder")

    assert (loaded["sheet"], loaded["other_sheets"]) == ("Data", ["Secret", "Länder"])
    assert rows_of(connection, loaded) == [("Data 1",)]
    assert inspect_file(claimed(tmp_path / "a.xlsx", RealDesk()))["rows"] == 1
    assert rows_of(connection, chosen) == [("Länder 1",), ("Länder 2",)]
    with pytest.raises(Reject, match=r"c\.xlsx has no sheet 'None'; there are 'Secret', 'Data', 'Länder'"):
        load("c.xlsx", content, sheet="None")


ODD: dict[str, tuple[str, str, list[tuple[Any, ...]]]] = {
    "prefixed names": (
        f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData><x:row r="1"><x:c r="A1" t="inlineStr"><x:is><x:t>h</x:t></x:is>'
        '</x:c></x:row><x:row r="2"><x:c r="A2"><x:v>1</x:v></x:c></x:row></x:sheetData></x:worksheet>',
        "",
        [("1",)],
    ),
    "CDATA and comments": (
        sheet_of(
            '<row r="1"><c r="A1" t="str"><v>h</v></c></row><!-- <row r="9"> --><row r="2"><c r="A2" t="str">'
            "<v><![CDATA[<row>]]></v></c></row>"
        ),
        "",
        [("<row>",)],
    ),
    "rows and cells without references": (
        sheet_of('<row><c t="str"><v>h</v></c><c t="str"><v>i</v></c></row><row><c/><c><v>2</v></c></row>'),
        "",
        [(None, "2")],
    ),
    "other quotes, order and blanks": (
        sheet_of(
            "<row r='1'>\n <c t='str' r='A1'><v>h</v></c></row>\n"
            "<row r='3' spans='1:1'><c r='A3' ><v>1</v></c></row>"
        ),
        "",
        [("1",)],
    ),
    "rich and phonetic texts": (
        sheet_of('<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c></row>'),
        '<si><t>h</t></si><si><r><t>東</t></r><r><rPr/><t xml:space="preserve"> 京</t></r>'
        '<rPh sb="0" eb="1"><t>トウ</t></rPh></si>',
        [("東 京",)],
    ),
    "entities": (
        sheet_of('<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c></row>'),
        "<si><t>h</t></si><si><t>&lt;&#228;&#x20AC;&amp;amp;&quot;</t></si>",
        [('<ä€&amp;"',)],
    ),
    "an ISO date and an empty text": (
        sheet_of(
            '<row r="1"><c r="A1" t="str"><v>h</v></c><c r="B1" t="str"><v>i</v></c></row>'
            '<row r="2"><c r="A2" t="d"><v>2024-02-29</v></c><c r="B2" t="s"><v>0</v></c></row>'
        ),
        "<si><t/></si>",
        [("2024-02-29", "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_xml_that_is_written_otherwise_is_read_all_the_same(connection: Connection, load: Load, what: str) -> None:
    sheet, texts, rows = ODD[what]

    loaded = load("a.xlsx", written_by_hand(sheet, texts=texts))

    assert rows_of(connection, loaded) == rows


BROKEN: dict[str, tuple[str, str]] = {
    "a row beyond Excel": ('<row r="2000000000"><c r="A2"><v>1</v></c></row>', "row 2000000000; a sheet has 1048576"),
    "a row that stands twice": ('<row r="1"><c r="A1"><v>1</v></c></row>', "row 1 stands twice"),
    "a cell that stands twice": (
        '<row r="2"><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>',
        "row 2: two cells stand in column A",
    ),
    "a column beyond Excel": ('<row r="2"><c r="ZZZ2"><v>1</v></c></row>', "row 2: more cells than a sheet has"),
    "no number": ('<row r="2"><c r="A2"><v>1,5</v></c></row>', "row 2: '1,5' is no number"),
    "a text that is not there": ('<row r="2"><c r="A2" t="s"><v>7</v></c></row>', "row 2: a cell names a text"),
    "a row that is cut off": ('<row r="2"><c r="A2"><v>1</v></c>', "cannot be read: "),
    "more cells than the header": ('<row r="2"><c r="B2"><v>1</v></c></row>', "row 2: 2 cells under a header of 1"),
}  # fmt: skip


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("what", BROKEN)
def test_a_sheet_that_excel_could_not_have_is_rejected(load: Load, what: str) -> None:
    rows, sentence = BROKEN[what]

    with pytest.raises(Reject, match=sentence):
        load("a.xlsx", written_by_hand(sheet_of('<row r="1"><c r="A1" t="str"><v>h</v></c></row>' + rows)))


def test_a_file_of_a_hundred_thousand_texts_is_read_alike(
    connection: Connection, load: Load, make_file: MakeFile
) -> None:
    target = io.BytesIO()
    with xlsxwriter.Workbook(target) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["n", "t"])
        for n in range(1, 20_001):
            sheet.write_row(n, 0, [n, f"text {n} & more"])

    loaded = load("a.xlsx", target.getvalue())

    assert rows_of(connection, loaded) == [(str(n), f"text {n} & more") for n in range(1, 20_001)]
    assert inspect_file(make_file("b.xlsx", target.getvalue()))["rows"] == 20_000
