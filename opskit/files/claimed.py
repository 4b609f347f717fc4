"""A claimed file: what a processor is given."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import unquote

from opskit.errors import Reject
from opskit.files import stores
from opskit.support.logs import masked

if TYPE_CHECKING:
    import psycopg

Processor = Callable[["ClaimedFile"], Mapping[str, Any] | None]


class Context(Protocol):
    """The node behind a claimed file."""

    def progress(self, done: int | None, total: int | None) -> None:
        """Note how far the processor is."""

    def completing(self, file: ClaimedFile, result: Mapping[str, Any] | None) -> AbstractContextManager[Any]:
        """The transaction that completes the file."""

    def content(self, file: ClaimedFile) -> bytes:
        """The row's file_content."""

    def columns(self, file: ClaimedFile) -> dict[str, Any]:
        """The application's own columns of the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedFile:
    """One file, claimed by this node; valid while the processor runs.

    Attributes:
        id: The row's id, as text whatever its type.
        original_filename: Name that the uploader gave it; never a path to be used.
        storage_path: Path or fsspec URL of its bytes; None when they are in the row.
        file_size: Size as the application recorded it [bytes].
        attempt: How many times the file has been claimed, this one included.
        failures: How many of them ended badly since the last requeue.
        server_id: The node that holds it.
        token: The claim's fence; also a good part of a name for outputs written elsewhere.
        table_prefix: "" in production, "dev_" in development.
        files_table: The files table's name, without that prefix.
        text_encoding: Encoding of a text that has no byte order mark.
        lane: Its lane, as text; None where lanes are off, and for files without one.
    """

    id: str
    original_filename: str | None
    storage_path: str | None
    file_size: int | None
    attempt: int
    failures: int
    server_id: str
    token: str
    storage_root: str = ""
    storage_only: bool = False
    table_prefix: str = ""
    files_table: str = "uploaded_files"
    text_encoding: str = "utf-8"
    lane: str | None = None
    desk: Context = field(repr=False)

    @property
    def name(self) -> str:
        """The file's name, else the last part of its path, else its id."""
        return self.original_filename or Path(self.storage_path or self.id).name

    def open(self) -> io.BufferedReader:
        """Open the file's bytes for reading; what is read counts as progress.

        Raises:
            Reject: The path leads out of the storage root.
            FileNotFoundError: There is no such file; the attempt fails and is tried again.
        """
        raw = io.BytesIO(self.desk.content(self)) if not self.storage_path else self._open_path()
        return io.BufferedReader(_Counted(raw, self._report, self._size_of(raw)), 1 << 18)

    def local(self, folder: Path) -> Path:
        """Its path on this machine; what is elsewhere (another store, the row itself) is copied into *folder* first.

        Raises:
            Reject: The path leads out of the storage root.
            FileNotFoundError: There is no such file.
        """
        if self.storage_path:
            with self._open_path() as raw:
                if there := _path_of(raw):
                    return there
        copy = folder / f"input{_suffix(self.name)}"
        with self.open() as stream, open(copy, "xb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        return copy

    def progress(self, done: int | None = None, total: int | None = None) -> None:
        """Report progress: *done* of *total* steps. Costs nothing; sent with the next heartbeat."""
        self.desk.progress(done, total)

    def completing(
        self, result: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[psycopg.Connection[dict[str, Any]]]:
        """One transaction in which what you write and the completion commit together, or neither.

        The fence comes first: a lost claim is noticed before any of your writes.

        Args:
            result: Stored with the row. What the processor returns is stored, too, if this is None.

        Raises:
            ClaimLostError: Somebody else has the file now; nothing is written.
        """
        return self.desk.completing(self, result)

    def row(self) -> dict[str, Any]:
        """All columns of the file's row but its content, the application's own included; read now."""
        return self.desk.columns(self)

    def _report(self, done: int, total: int | None) -> None:
        self.desk.progress(done, total)

    def _open_path(self) -> BinaryIO:
        path = self.storage_path or ""
        if self.storage_only:
            path = _confined(path, self.storage_root)
            if Path(path).is_absolute() and _is_folder(self.storage_root):
                return open(path, "rb", buffering=0)
        if "://" not in path and "://" not in self.storage_root:
            return open(self._local(path), "rb", buffering=0)
        if "://" not in path:
            path = f"{self.storage_root.rstrip('/')}/{_inside(path)}"
        return stores.opened(path)

    def _local(self, path: str) -> Path:
        """An absolute path as it is (the application wrote it); a relative one within the storage root."""
        return Path(path) if Path(path).is_absolute() else Path(self.storage_root) / _inside(path)

    def _size_of(self, raw: BinaryIO) -> int | None:
        try:
            end = raw.seek(0, io.SEEK_END)
            raw.seek(0)
        except (OSError, io.UnsupportedOperation):
            return self.file_size
        return end


def _path_of(raw: BinaryIO) -> Path | None:
    """The path of a stream that reads a file of this machine; None when it reads something else."""
    path = getattr(raw, "name", None)
    try:
        if isinstance(path, str) and os.path.samestat(os.stat(path), os.fstat(raw.fileno())):
            return Path(path).absolute()
    except (OSError, ValueError, AttributeError):
        pass
    return None


def _suffix(name: str) -> str:
    """A plain extension, which programs go by; "" for any other."""
    found = re.search(r"\.[A-Za-z0-9]{1,10}\Z", name)
    return found[0].lower() if found else ""


def _inside(path: str) -> str:
    if ".." in Path(path).parts:
        raise Reject(f"storage_path {path!r} leads out of the storage root")
    return path


def _is_folder(root: str) -> bool:
    """Whether the storage is a folder of this machine's."""
    return "://" not in root or root.startswith(("file://", "local://"))


def _confined(path: str, root: str) -> str:
    """*path* if it lies within the storage, its links resolved.

    Raises:
        Reject: It does not, or goes by another protocol than the storage, or by several.
    """
    protocol = root.partition("://")[0] if "://" in root else ""
    inside, told = "::" not in path, masked(path)
    if _is_folder(root):
        folder = Path(root.removeprefix(f"{protocol}://")).expanduser().resolve()
        given = path.removeprefix(f"{protocol}://") if protocol else path
        resolved = (folder / given).resolve()
        inside = inside and "://" not in given and resolved.is_relative_to(folder)
        path = str(resolved)
    elif "://" in path:
        below = path.removeprefix(f"{root.rstrip('/')}/")
        inside = inside and below != path and ".." not in re.split(r"[/\\]", unquote(below))
    if not inside:
        raise Reject(f"storage_path {told!r} is outside the storage, and OPSKIT_STORAGE_ONLY lets nothing else be read")
    return path


class _Counted(io.RawIOBase):
    """A raw stream that reports how far it has been read."""

    def __init__(self, raw: BinaryIO, report: Callable[[int, int | None], None], total: int | None) -> None:
        self._raw, self._report, self._total, self._furthest = raw, report, total, 0

    def readinto(self, buffer: Any) -> int:
        read: int | None = self._raw.readinto(buffer) if hasattr(self._raw, "readinto") else None
        if read is None:
            data = self._raw.read(len(buffer))
            read = len(data)
            buffer[:read] = data
        if read:
            # Only new ground is progress: a parser that reads the same page for ever stands still.
            position = self._raw.tell() if self._raw.seekable() else self._furthest + read
            if position > self._furthest:
                self._furthest = position
                self._report(position, self._total)
        return read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._raw.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
