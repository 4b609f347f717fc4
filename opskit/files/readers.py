"""Formats: what a file is by its bytes and name, and its rows as PostgreSQL's COPY takes them.

Every reader answers a `Table`: columns, and blocks of CSV in which an empty field is NULL and a quoted one
is text. CSV files pass through as they are; the others are turned into it, a block at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from opskit.errors import Reject
from opskit.files.claimed import ClaimedFile
from opskit.files.formats.csv import open_csv
from opskit.files.formats.excel import open_xlsx
from opskit.files.formats.json_lines import open_jsonl
from opskit.files.formats.parquet import open_parquet
from opskit.files.kinds import BLOCK, kind_of
from opskit.files.table import Table

_LOADABLE = "CSV, TSV, JSON lines (all UTF-8), Parquet and Excel (.xlsx)"


@contextlib.contextmanager
def open_table(file: ClaimedFile) -> Iterator[Table]:
    """Open a file as a table; its blocks can be read once, while it is open.

    Raises:
        Reject: It is no table, or cannot be read as the one that it seems to be.
        MissingExtraError: The package that reads it is not installed.
    """
    with file.open() as stream:
        head = stream.read(BLOCK)
        kind = kind_of(head, file.name)
        if kind not in _READERS:
            said = "empty" if kind == "empty" else f"of the kind {kind}"
            raise Reject(f"{file.name} is {said}; {_LOADABLE} can be loaded")
        if kind in ("csv", "tsv"):
            yield open_csv(file, stream, head, "\t" if kind == "tsv" else "")
        else:
            stream.seek(0)
            yield _READERS[kind](file, stream)


_READERS: dict[str, Callable[..., Table]] = {
    "csv": open_csv,
    "tsv": open_csv,
    "jsonl": open_jsonl,
    "xlsx": open_xlsx,
    "parquet": open_parquet,
}
