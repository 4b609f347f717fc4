"""Claimed files for tests of a processor, without a node and without a database."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opskit.errors import CompletionError, OpskitError, Reject
from opskit.files.claimed import ClaimedFile

if TYPE_CHECKING:
    import psycopg

_numbers = itertools.count(1)


class Recorded:
    """What stands behind a file of a test: `file.desk`, which keeps what the processor has said.

    Attributes:
        progress_reports: Each report of progress, as (done, total); what is read counts, too.
        results: The result given to each `completing()` that ended well; None where none was given.
    """

    def __init__(self, content: bytes | None, row: Mapping[str, Any], connection: Any) -> None:
        """Keep the report."""
        self.progress_reports: list[tuple[int | None, int | None]] = []
        self.results: list[Mapping[str, Any] | None] = []
        self._content, self._row, self._connection = content, dict(row), connection
        self._is_open = False

    @property
    def completed(self) -> bool:
        """Whether the processor has completed the file by itself, with `completing()`."""
        return bool(self.results)

    def progress(self, done: int | None, total: int | None) -> None:
        """Keep the report."""
        self.progress_reports.append((done, total))

    @contextlib.contextmanager
    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> Iterator[Any]:
        """The transaction of a test's own connection."""
        if self._connection is None:
            raise OpskitError(
                f"file {file.id} is one of a test without a database; give claimed(connection=…) what completing() "
                "shall write to"
            )
        if self._is_open:
            raise CompletionError(f"completing() of file {file.id} is open already")
        if self.results:
            raise CompletionError(f"file {file.id} is completed already: completing() is for one block a file")
        self._is_open = True
        try:
            with self._connection.transaction():
                yield self._connection
        finally:
            self._is_open = False
        self.results.append(result)

    def content(self, file: ClaimedFile) -> bytes:
        """The bytes that were given."""
        if self._content is None:
            raise Reject("the row has neither storage_path nor file_content")
        return self._content

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        """The columns that were given."""
        return dict(self._row)


def claimed(
    source: str | os.PathLike[str] | bytes | None = None,
    *,
    name: str | None = None,
    row: Mapping[str, Any] | None = None,
    id: object = None,
    attempt: int = 1,
    failures: int = 0,
    connection: psycopg.Connection[Any] | None = None,
) -> ClaimedFile:
    """Make a claimed file by hand, to test a processor with.

    Args:
        source: A path or an fsspec URL, or the bytes themselves. Defaults to what *row* says.
        name: Name that the uploader gave it. Defaults to the row's, else to the path's last part.
        row: The columns of its row, the application's own included: what `file.row()` answers. Its id,
            original_filename, storage_path, file_size and file_content are used, too.
        id: The row's id. Defaults to the row's, else to a number of its own.
        attempt: How many times it has been claimed, >= 1.
        failures: How many of them ended badly, >= 0.
        connection: A psycopg connection: `completing()` is a transaction on it. Defaults to none, and completing() is
            refused. Roll back yourself what shall not stay.

    Returns:
        The file. `file.desk` keeps what the processor has said: `progress_reports`, `results`, `completed`.
    """
    row = dict(row or {})
    content = source if isinstance(source, bytes) else None
    path = None if source is None or isinstance(source, bytes) else os.fspath(source)
    if source is None:
        path, content = row.get("storage_path"), row.get("file_content")
        content = content.encode() if isinstance(content, str) else content
    if path is not None and "://" not in path:
        path = str(Path(path).expanduser().absolute())
    number = str(id if id is not None else row.get("id", next(_numbers)))
    name = name or row.get("original_filename")
    size = row.get("file_size")
    if size is None:
        size = len(content) if content is not None else _size_of(path)
    known = {"id": number, "original_filename": name, "storage_path": path, "file_size": size}
    columns = {key: value for key, value in row.items() if key != "file_content"}
    return ClaimedFile(
        id=number,
        original_filename=name,
        storage_path=path,
        file_size=size,
        attempt=attempt,
        failures=failures,
        server_id="test",
        token=str(uuid.uuid4()),
        desk=Recorded(content, known | columns, connection),
    )


def _size_of(path: str | None) -> int | None:
    """How large a file of this machine is; None for others, and for one that is missing."""
    with contextlib.suppress(OSError):
        return None if path is None or "://" in path else Path(path).stat().st_size
    return None
