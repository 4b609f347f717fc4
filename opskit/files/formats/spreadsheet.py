"""Other spreadsheets (.xls, .xlsb, .ods): read by calamine, in a process of its own with little memory.

calamine takes a whole sheet into memory, from its first cell to its last: two cells in opposite corners are 17 billion.
Rust gives up where memory ends, so the process that reads is not the one that has claimed the file.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from opskit.errors import MissingExtraError, Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.kinds import BLOCK
from opskit.files.table import Table, columns_of

_PROGRAM = Path(__file__).with_name("calamine_rows.py")
_MEMORY = 200 << 20
_LARGEST = 1 << 26
_SECONDS = 8


@contextlib.contextmanager
def open_spreadsheet(file: ClaimedFile, stream: BinaryIO, *, sheet: str = "") -> Iterator[Table]:
    """One sheet as text; its first row that is not empty is the header.

    Raises:
        Reject: It cannot be read, or not in the memory and the time that there is for it.
        MissingExtraError: python-calamine is not installed.
    """
    if find_spec("python_calamine") is None:
        raise MissingExtraError("python-calamine", "formats")
    with tempfile.TemporaryFile() as copy:
        size = 0
        while block := stream.read(BLOCK):
            size += len(block)
            if size > _LARGEST:
                raise Reject(f"{file.name} is larger than {_LARGEST >> 20} MB; save it as .xlsx or as CSV")
            copy.write(block)
        copy.seek(0)
        seconds = _SECONDS + size // 200_000
        process = subprocess.Popen(
            [sys.executable, "-P", "-s", str(_PROGRAM), str(_MEMORY), str(seconds), sheet],
            stdin=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                first = process.stdout.readline()
                if not first.endswith(b"\n"):
                    raise _refusal(file, process)
                header = json.loads(first)
                yield Table(
                    columns=columns_of(file, header["names"]),
                    blocks=lambda _: _rows(file, process),
                    said=header["said"],
                )
            finally:
                process.kill()


def _rows(file: ClaimedFile, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert process.stdout is not None
    while block := process.stdout.read(BLOCK):
        yield block
        file.progress(None, None)
    if process.wait():
        raise _refusal(file, process)


def _refusal(file: ClaimedFile, process: subprocess.Popen[bytes]) -> Reject:
    """What the process that reads says, or its end does."""
    assert process.stderr is not None
    said = process.stderr.read(1 << 16).decode("utf-8", "replace").strip()
    if process.wait() == 65:
        return Reject(f"{file.name}{'' if said.startswith(',') else ' '}{said}")
    return Reject(f"{file.name} takes more than {_MEMORY >> 20} MB or too long to read; save it as .xlsx or as CSV")
