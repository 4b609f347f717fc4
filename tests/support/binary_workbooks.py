"""Binary workbooks of Excel (.xlsb), record by record as [MS-XLSB] has them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Sequence

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_ERROR, _BOOL, _REAL, _TEXT = 3, 4, 5, 6
_ROW, _BUNDLE = 0, 156
ERROR = object()
"""A cell that holds #DIV/0!."""


def _record(kind: int, body: bytes = b"") -> bytes:
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, length = len(body), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return head + length + body


def _wide(text: str) -> bytes:
    encoded = text.encode("utf-16-le")
    return struct.pack("<I", len(encoded) // 2) + encoded


def _cell(column: int, value: object) -> bytes:
    begin = struct.pack("<II", column, 0)
    if value is ERROR:
        return _record(_ERROR, begin + b"\x07")
    if isinstance(value, bool):
        return _record(_BOOL, begin + bytes([value]))
    if isinstance(value, str):
        return _record(_TEXT, begin + _wide(value))
    assert isinstance(value, (int, float))
    return _record(_REAL, begin + struct.pack("<d", value))


def _sheet(rows: Sequence[Sequence[object]]) -> bytes:
    width = max(map(len, rows), default=1)
    out = _record(129) + _record(148, struct.pack("<IIII", 0, max(len(rows) - 1, 0), 0, max(width - 1, 0)))
    out += _record(145)
    for number, row in enumerate(rows):
        out += _record(_ROW, struct.pack("<IIHBBBI", number, 0, 300, 0, 0, 0, 0))
        out += b"".join(_cell(place, value) for place, value in enumerate(row) if value is not None)
    return out + _record(146) + _record(130)


def xlsb(sheets: Iterable[tuple[str, Sequence[Sequence[object]], bool]]) -> bytes:
    """A workbook of sheets: for each its name, its rows, and whether it is hidden."""
    given = list(sheets)
    book = _record(131) + _record(143)
    for number, (name, _, hidden) in enumerate(given, 1):
        book += _record(_BUNDLE, struct.pack("<II", int(hidden), number) + _wide(f"rId{number}") + _wide(name))
    book += _record(144) + _record(132)
    relations = "".join(
        f'<Relationship Id="rId{n}" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet{n}.bin"/>'
        for n in range(1, len(given) + 1)
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGE}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="a" Type="{_RELATIONS}/officeDocument" '
            'Target="xl/workbook.bin"/></Relationships>',
        )
        archive.writestr("xl/workbook.bin", book)
        archive.writestr(
            "xl/_rels/workbook.bin.rels", f'<Relationships xmlns="{_PACKAGE}/relationships">{relations}</Relationships>'
        )
        for number, (_, rows, _hidden) in enumerate(given, 1):
            archive.writestr(f"xl/worksheets/sheet{number}.bin", _sheet(rows))
    return target.getvalue()
