"""What a processor does outside the database, as far as Python is told of it: files, connections, programs."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MOST = 20
_noting: dict[int, list[str]] = {}
_hooked = False


@contextlib.contextmanager
def noted() -> Iterator[list[str]]:
    """Gives what this thread does outside meanwhile, each once, in words; at most 20."""
    global _hooked
    if not _hooked:
        # A hook stays for the life of the process; without a replay it looks at one dictionary.
        sys.addaudithook(_hear)
        _hooked = True
    thread = threading.get_ident()
    seen: list[str] = []
    _noting[thread] = seen
    try:
        yield seen
    finally:
        _noting.pop(thread, None)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if not _noting or (seen := _noting.get(threading.get_ident())) is None:
        return
    with contextlib.suppress(Exception):  # whatever an event holds, it must not stop what it is about
        words = _words(event, arguments)
        if words and words not in seen and len(seen) < _MOST:
            seen.append(words)


def _words(event: str, arguments: tuple[object, ...]) -> str:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not isinstance(flags, int) or not flags & _WRITES:
            return ""
        name = os.fsdecode(path)  # type: ignore[arg-type]  # a path of some kind
        return "" if "__pycache__" in name or name == os.devnull else f"file {name} opened for writing"
    if event in ("os.remove", "os.rmdir", "os.mkdir"):
        return f"{event[3:]} {os.fsdecode(arguments[0])}"  # type: ignore[arg-type]  # the same
    if event == "os.rename":
        return f"rename {os.fsdecode(arguments[0])} to {os.fsdecode(arguments[1])}"  # type: ignore[arg-type]  # the same
    if event == "socket.connect":
        return f"connection to {_address(arguments[1])}"
    if event == "subprocess.Popen":
        return f"program {arguments[0]!s}"
    if event in ("os.system", "os.posix_spawn", "os.exec"):
        return f"program {os.fsdecode(arguments[0])}"  # type: ignore[arg-type]  # the same
    return ""


def _address(address: object) -> str:
    if isinstance(address, tuple) and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    return os.fsdecode(address) if isinstance(address, (str, bytes)) else str(address)
