"""A stored file without a claim, for readers such as the preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from opskit.errors import OpskitError
from opskit.files.claimed import ClaimedFile
from opskit.settings import Settings


class _Onlooker:
    """The context of a file that nobody has claimed."""

    def __init__(self, content: Callable[[], bytes]) -> None:
        self._content = content

    def progress(self, done: int | None, total: int | None) -> None:
        """Ignore progress: nobody shows that of a preview."""

    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> AbstractContextManager[Any]:
        raise OpskitError("a file that is only looked at cannot be completed")

    def content(self, file: ClaimedFile) -> bytes:
        return self._content()

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        raise OpskitError("a file that is only looked at has no row at hand")


def kept(settings: Settings, row: Mapping[str, Any], content: Callable[[], bytes]) -> ClaimedFile:
    """A file to be opened for reading, by the same rules as a processor's.

    Args:
        settings: Where the storage is, and whether anything outside it may be read.
        row: The file, as `queue.row_content.file` answers it.
        content: Reads its bytes where they are in the row.
    """
    return ClaimedFile(
        id=row["id"],
        original_filename=row["original_filename"],
        storage_path=row["storage_path"],
        file_size=row["file_size"],
        attempt=row["processing_attempt"] or 0,
        failures=row["processing_failures"],
        server_id="",
        token="",
        storage_root=settings.storage_root,
        storage_only=settings.storage_only,
        table_prefix=settings.prefix,
        files_table=settings.table,
        text_encoding=settings.text_encoding,
        desk=_Onlooker(content),
    )
