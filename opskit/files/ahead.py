"""A read-ahead stream over an object of a store: fetches the next range while one is read."""

from __future__ import annotations

import contextlib
import errno
import io
import threading
from collections.abc import Iterator
from typing import Any

BLOCK_BYTES = 8 << 20
"""One range [bytes]: large enough that its round trip costs little, small enough to keep three in memory."""


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Give an error of a store the errno that it lacks: other than "no such file", it speaks of the store."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise
    except OSError as error:
        if error.errno is None:
            error.errno = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
        raise


class _Fetch:
    """One range, fetched in a thread that ends with it: nothing is left behind when the processor has done its work."""

    def __init__(self, store: Any, path: str, number: int) -> None:
        self.number = number
        self._store, self._path = store, path
        self._bytes: bytes | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start = self.number * BLOCK_BYTES
        try:
            self._bytes = self._store.cat_file(self._path, start=start, end=start + BLOCK_BYTES)
        except BaseException as error:
            self._error = error

    def result(self) -> bytes:
        self.join()
        if self._error is not None:
            with telling():
                raise self._error
        assert self._bytes is not None
        return self._bytes

    def join(self) -> None:
        self._thread.join()


class ReadAhead(io.RawIOBase):
    """The bytes of an object, in order and from anywhere.

    Args:
        store: An fsspec file system.
        path: The object within it.

    Raises:
        FileNotFoundError: There is no such object.
    """

    def __init__(self, store: Any, path: str) -> None:
        super().__init__()
        self._store, self._path = store, path
        with telling():
            self._size = int(store.info(path)["size"])
        self._at = 0
        self._number, self._block = -1, b""
        self._next: _Fetch | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on from another place."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        """Where the next read begins [bytes]."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the block in hand goes."""
        if self._at >= self._size:
            return 0
        number, within = divmod(self._at, BLOCK_BYTES)
        if number != self._number:
            self._block, self._number = self._fetched(number), number
        piece = self._block[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _fetched(self, number: int) -> bytes:
        ahead, self._next = self._next, None
        if ahead is None or ahead.number != number:
            if ahead is not None:
                ahead.join()
            ahead = _Fetch(self._store, self._path, number)
        block = ahead.result()
        if (number + 1) * BLOCK_BYTES < self._size:
            self._next = _Fetch(self._store, self._path, number + 1)
        return block

    def close(self) -> None:
        """Wait for what is on its way, so that no thread is left."""
        ahead, self._next = self._next, None
        if ahead is not None:
            ahead.join()
        super().close()
