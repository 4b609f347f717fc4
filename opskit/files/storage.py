"""Storage: where the bytes of uploads are kept, a folder or an fsspec URL.

A file is kept under the sha256 of its bytes, so that the same bytes are kept once and a name that somebody
chose is never a path. What arrives is written beside its place first and moved there whole: whoever finds a
file at its place finds all of it. A folder that opskit makes, and the one in the home, are closed to other users; a
folder that was there decides who may enter, and its set-group-ID bit that its group may read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from opskit.errors import MissingExtraError, OpskitError, TooLargeError
from opskit.settings import Settings
from opskit.support import private_files

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file in the storage.

    Attributes:
        path: Its path or fsspec URL, of our own making.
        name: What its uploader called it, fit to be shown.
        size: Its size [bytes].
        sha256: Of its bytes, in hex.
    """

    path: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that has been written whole, beside its place."""

    stored: Stored
    shelf: _Shelf
    waiting: str
    place: str


@contextlib.contextmanager
def arriving(settings: Settings, name: str | None, stream: BinaryIO, *, limit_bytes: int) -> Iterator[Arrival]:
    """A stream's bytes, written beside their place and summed up; gone at the end unless `keep` has kept them.

    Args:
        settings: Where: `storage_root`, as <sha256[:2]>/<sha256><.ext>.
        name: What the uploader calls it; of it only a plain extension shows in the path.
        stream: Its bytes, read to the end.
        limit_bytes: Most bytes taken [bytes].

    Raises:
        TooLargeError: It is larger.
        OpskitError: The storage failed. Nothing is left behind, in either case.
    """
    shown = clean_name(name)
    with _said_plainly():
        if not settings.storage:
            private_files.home(settings.home_path)
        shelf = _shelf(settings.storage_root, ours=not settings.storage)
        # Hidden: who enqueues the storage's folder leaves it out.
        waiting = f".{uuid.uuid4().hex}.part"
    try:
        with _said_plainly():
            size, sha256 = _write(shelf, waiting, stream, shown, limit_bytes)
            place = f"{sha256[:2]}/{sha256}{_extension(shown)}"
        yield Arrival(Stored(path=shelf.path(place), name=shown, size=size, sha256=sha256), shelf, waiting, place)
    finally:
        with contextlib.suppress(Exception):
            shelf.remove(waiting)


def keep(arrived: Iterable[Arrival]) -> None:
    """Move files to their places: all of them, or none.

    Raises:
        OpskitError: The storage failed.
    """
    new: list[Arrival] = []
    try:
        for one in arrived:
            with _said_plainly():
                if one.shelf.move(one.waiting, one.place):
                    new.append(one)
    except BaseException:
        for one in new:
            with contextlib.suppress(Exception):
                one.shelf.remove(one.place)
        raise


def clean_name(given: str | None) -> str:
    """The name that an uploader gave, fit to be shown: no folders, no control characters, at most 255 long."""
    last = re.split(r"[/\\]", given or "")[-1]
    shown = "".join(character for character in last if unicodedata.category(character) not in ("Cc", "Cs")).strip()
    return shown[-255:] or "upload"


def _extension(name: str) -> str:
    """The part of a name that stays in the path: its plain extension."""
    found = re.search(r"(\.[A-Za-z0-9]{1,10}){1,2}$", name)
    return found[0].lower() if found else ""


def _write(shelf: _Shelf, at: str, stream: BinaryIO, name: str, limit_bytes: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with shelf.create(at) as target:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > limit_bytes:
                raise TooLargeError(f"{name!r} is too large; at most {limit_bytes} bytes are taken")
            digest.update(chunk)
            target.write(chunk)
    return size, digest.hexdigest()


class _Shelf(Protocol):
    """Where files are kept, each under a name with slashes."""

    def path(self, name: str) -> str: ...
    def create(self, name: str) -> AbstractContextManager[BinaryIO]: ...
    def move(self, old: str, new: str) -> bool:
        """Move a file; says whether there was none. One that was is replaced: its bytes are the same."""
        ...

    def remove(self, name: str) -> None: ...


def _shelf(root: str, *, ours: bool = True) -> _Shelf:
    return _Remote(root.rstrip("/")) if "://" in root else _Folder(Path(root).expanduser().absolute(), ours=ours)


class _Folder:
    """A folder on this machine. A row that outlives a power cut must find its bytes: everything is synced."""

    def __init__(self, root: Path, *, ours: bool) -> None:
        self._root, self._ours = root, ours

    def path(self, name: str) -> str:
        return str(self._root / name)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        self._root.parent.mkdir(parents=True, exist_ok=True)
        made = not self._root.exists()
        self._root.mkdir(mode=private_files.FOLDER, exist_ok=True)
        if made:
            _sync(self._root.parent)
        if self._ours:
            private_files.folder(self._root)
        new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._root / name, new, private_files.FILE), "wb") as target:
            if self._is_shared():
                os.fchmod(target.fileno(), private_files.FILE | 0o040)
            yield target
            target.flush()
            os.fsync(target.fileno())

    def move(self, old: str, new: str) -> bool:
        target = self._root / new
        made = not os.path.lexists(target.parent)
        if target.parent.is_symlink():
            raise PermissionError(errno.EPERM, f"{target.parent} is a link, and none is followed here; remove it")
        target.parent.mkdir(mode=private_files.FOLDER, exist_ok=True)
        if made and self._is_shared():
            target.parent.chmod(private_files.FOLDER | 0o2050)
        is_new = not os.path.lexists(target)
        os.replace(self._root / old, target)
        _sync(target.parent)
        if made:
            _sync(self._root)
        return is_new

    def _is_shared(self) -> bool:
        """Whether its owner has given the folder to a group."""
        return not self._ours and bool(self._root.stat().st_mode & stat.S_ISGID)

    def remove(self, name: str) -> None:
        (self._root / name).unlink()
        if "/" in name:
            with contextlib.suppress(OSError):
                (self._root / name).parent.rmdir()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Remote:
    """An fsspec URL: s3://bucket/uploads, memory://uploads."""

    def __init__(self, root: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise MissingExtraError("fsspec", "ui") from None
        self._root = root
        self._files: Any
        self._files, self._path = fsspec.core.url_to_fs(root)

    def path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        self._make_folder(self._path)
        with self._files.open(f"{self._path}/{name}", "wb") as target:
            yield target

    def move(self, old: str, new: str) -> bool:
        target = f"{self._path}/{new}"
        self._make_folder(target.rpartition("/")[0])
        is_new = not self._files.exists(target)
        self._files.mv(f"{self._path}/{old}", target)
        return is_new

    def remove(self, name: str) -> None:
        self._files.rm_file(f"{self._path}/{name}")

    def _make_folder(self, path: str) -> None:
        # Object stores have none, and may forbid asking.
        with contextlib.suppress(PermissionError):
            self._files.makedirs(path, exist_ok=True)


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    """Report every error of the storage's library as one sentence."""
    try:
        yield
    except OpskitError:
        raise
    except Exception as error:
        said = (error.strerror if isinstance(error, OSError) else "") or " ".join(str(error).split())
        raise OpskitError(f"the upload cannot be stored: {said or type(error).__name__}") from error
