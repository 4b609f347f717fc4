"""The workspace of a node's programs: a folder for each claim, removed with everything that a program has left in it.

A program may be killed, and so may its node. What belongs to a claim carries its token: the folder in its name, each
process in its environment. Whoever sweeps finds both, also what has left its process group.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TOKEN = "OPSKIT_FILE_TOKEN"
"""The variable that names the claim in the environment of a program."""
_PREFIX = "opskit-exec-"
_MOST_ROUNDS = 20  # a program that forks while it is killed is killed again


class Workspace:
    """A node's folder for its programs, in the system's temporary folder; closed to other users.

    The folder is locked while its node lives, so that others can tell a dead node's.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def sweep(self) -> None:
        """End what programs have left behind, and empty the folder. Only while none of its programs should run."""
        _sweep(self.path)

    def close(self) -> None:
        """Sweep, and remove the folder."""
        _sweep(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep_dead() -> int:
    """Remove the workspaces of this user's killed nodes; returns how many.

    A node that lives has its folder locked.
    """
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _held(folder):
            _sweep(folder)
            shutil.rmtree(folder, ignore_errors=True)
            swept += 1
    return swept


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock of a folder of this user's; OSError when somebody has it, or the folder is another's."""
    lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            raise PermissionError(folder)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _sweep(path: Path) -> None:
    try:
        tokens = [entry.name for entry in os.scandir(path)]
    except FileNotFoundError:
        return
    end_programs(tokens)
    for token in tokens:
        shutil.rmtree(path / token, ignore_errors=True)


def end_programs(tokens: list[str]) -> None:
    """Kill every process that was started for one of these claims, and what it has started. Linux alone can tell."""
    wanted = [f"{TOKEN}={token}".encode() for token in tokens]
    for _ in range(_MOST_ROUNDS if wanted else 0):
        found = [pid for pid in _processes() if _has(pid, wanted)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _processes() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                yield int(entry.name)


def _has(pid: int, wanted: list[bytes]) -> bool:
    """Whether a process has one of these variables. Of one that has ended, nothing is left to read."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(one in variables for one in wanted)
