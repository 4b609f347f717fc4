"""Spreadsheets of other formats than .xlsx, written for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

import xlwt

_NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
)


def open_document(*sheets: tuple[str, str]) -> bytes:
    """An .ods file of sheets, each a name and the XML of its rows."""
    target = io.BytesIO()
    tables = "".join(f'<table:table table:name="{name}">{rows}</table:table>' for name, rows in sheets)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        manifest = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
        archive.writestr("META-INF/manifest.xml", f'<manifest:manifest xmlns:manifest="{manifest}"/>')
        archive.writestr(
            "content.xml",
            f"<office:document-content {_NAMES}><office:body><office:spreadsheet>{tables}"
            "</office:spreadsheet></office:body></office:document-content>",
        )
    return target.getvalue()


def ods(rows: Iterable[Sequence[str]]) -> bytes:
    """An .ods file of one sheet of texts."""
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    lines = (
        "<table:table-row>"
        + "".join(cell.format(escape(text).replace("\n", "</text:p><text:p>")) for text in row)
        + "</table:table-row>"
        for row in rows
    )
    return open_document(("S", "".join(lines)))


def xls(rows: Iterable[Sequence[object]]) -> bytes:
    """An .xls file of one sheet."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("S")
    for number, row in enumerate(rows):
        for place, value in enumerate(row):
            sheet.write(number, place, value)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()
