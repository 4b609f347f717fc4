"""The program that reads a spreadsheet for `spreadsheet.py`: bytes come in, a line about the sheet and its rows go out.

It imports nothing of opskit: it is run by its path, so that it takes little memory of its own.
"""

from __future__ import annotations

import datetime
import io
import json
import re
import resource
import sys
import zipfile
from typing import Any

REJECTED = 65
_FREE_BYTES, _MOST_TIMES = 1 << 26, 200
_REPEATED = re.compile(rb'number-(rows|columns)-repeated\s*=\s*["\'](\d{1,40})')
_MOST = {b"rows": 1 << 20, b"columns": 1 << 14}
"""Excel's and LibreOffice's own limits; calamine stops there and says nothing."""


def main(memory: str, seconds: str, wanted: str) -> int:
    """Write the names of a sheet's columns as JSON, then its rows as CSV."""
    content = sys.stdin.buffer.read()
    import python_calamine

    # What private memory there may be; the addresses that a library reserves cost nothing.
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    if content.startswith(b"\xd0\xcf\x11\xe0") and "EncryptedPackage".encode("utf-16-le") in content:
        return _refuse("is protected with a password; save it without one")
    try:
        _check_size(content)
        book = python_calamine.load_workbook(io.BytesIO(content))
        sheets = [sheet for sheet in book.sheets_metadata if "WorkSheet" in str(sheet.typ)]
        shown = [
            sheet.name
            for sheet in sheets
            if str(sheet.visible).endswith("Visible") and "Hidden" not in str(sheet.visible)
        ]
        names = [sheet.name for sheet in sheets]
        if wanted and wanted not in names:
            return _refuse(f"has no sheet {wanted!r}; there are {', '.join(map(repr, names[:10]))}")
        if not names:
            return _refuse("has no sheet with cells")
        chosen = wanted or (shown or names)[0]
        rows = enumerate(book.get_sheet_by_name(chosen).iter_rows(), 1)
        return _write(
            rows,
            {"sheet": chosen} | ({"other_sheets": others} if (others := [n for n in names if n != chosen]) else {}),
        )
    except MemoryError:
        return 1
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        return _refuse(f"cannot be read: {said}; open it in Excel or LibreOffice and save it as .xlsx")


def _write(rows: Any, said: dict[str, Any]) -> int:
    out = sys.stdout.buffer
    width = 0
    for number, cells in rows:
        row = [_field(cell) for cell in cells]
        while row and row[-1] is None:
            row.pop()
        if not row:
            continue
        if not width:
            width = len(row)
            names = [None if field is None else field.strip('"').replace('""', '"') for field in row]
            out.write(json.dumps({"names": names, "said": said}).encode() + b"\n")
        elif len(row) > width:
            out.flush()
            return _refuse(f", row {number}: {len(row)} cells under a header of {width}")
        else:
            out.write((",".join(field or "" for field in row) + "," * (width - len(row)) + "\n").encode("utf-8"))
    if not width:
        return _refuse("has no columns")
    out.flush()
    return 0


def _field(value: Any) -> str | None:
    """A cell as a field of CSV."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds() * 1000) / 1000
        minutes, rest = divmod(seconds, 60)
        return f"{int(minutes // 60):02}:{int(minutes % 60):02}:{rest:06.3f}".removesuffix(".000")
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return f"{value.isoformat()}T00:00:00"
    if isinstance(value, (datetime.datetime, datetime.time)):
        return value.isoformat()
    return str(value)


def _check_size(content: bytes) -> None:
    if not content.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _FREE_BYTES + _MOST_TIMES * len(content):
        raise ValueError(f"it unpacks to more than {_FREE_BYTES >> 20} MB and {_MOST_TIMES} times its size")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if "content.xml" not in archive.namelist():
            return
        with archive.open("content.xml") as part:
            rest = b""
            while block := part.read(1 << 20):
                for what, times in _REPEATED.findall(rest + block):
                    if int(times) > _MOST[what]:
                        raise ValueError(
                            f"a cell is repeated over more {what.decode()} than a sheet has, {_MOST[what]}"
                        )
                rest = block[-100:]


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence)
    return REJECTED


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:4]))
