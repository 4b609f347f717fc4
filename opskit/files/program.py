"""A processor that runs a program for each file: any language, no library.

The program speaks as programs do: arguments, variables, streams, an exit code. It runs in a process group of its own,
which ends with the claim.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import json
import logging
import os
import select
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opskit.errors import Reject, Retry
from opskit.files.claimed import ClaimedFile
from opskit.files.command_line import Command
from opskit.files.program_failure import Failure
from opskit.files.workspace import TOKEN
from opskit.support.json_values import as_json
from opskit.support.logs import masked

log = logging.getLogger("opskit")
REJECTED = 65
"""EX_DATAERR of sysexits.h: the file is bad."""
DEFERRED = 75
"""EX_TEMPFAIL of sysexits.h: not now."""
NOT_RUNNABLE, NOT_FOUND = 126, 127
"""What shells answer for a program that cannot be run, or is not there: the world's fault, not the file's."""
PROGRESS_FD = 3
_LOOK_MILLISECONDS = 500
_LOOK_WITHOUT_PIDFD_MILLISECONDS = 20
_MOST_RESULT_BYTES = 16 << 20
_LONGEST_PROGRESS_LINE = 200
_READ = 1 << 16
_MOST_LEFT_READS = 64
_POLLED = select.POLLIN | select.POLLHUP | select.POLLERR


class Program:
    """A processor: one run of a program for each file.

    Args:
        command: What to run.
        folder: Where each claim gets a folder of its own, named by its token.
        environ: The variables that every run has.
        started: Called with the process group of each run, and with 0 at its end.
    """

    def __init__(
        self,
        command: Command,
        folder: Path,
        environ: Mapping[str, str],
        started: Callable[[int], None] = lambda group: None,
    ) -> None:
        self._command, self._folder, self._started = command, folder, started
        self._path = command.find()
        self._environ = dict(environ)
        self._group = 0

    def __call__(self, file: ClaimedFile) -> Mapping[str, Any] | None:
        """Run the program on one file; its result.

        Raises:
            Reject: It has exited with 65.
            Retry: It has exited with 75.
            Failure: It has exited otherwise, was killed, could not be run, or its result is no JSON object.
        """
        folder = self._folder / file.token
        folder.mkdir(mode=0o700)
        try:
            status, said = self._run(file, folder)
            result = _result(folder / "result.json")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._judge(status, said, result)
        if isinstance(result, Failure):
            raise result
        return result

    def abandon(self) -> None:
        """Kill the program that runs, with all its group: its node has died."""
        if self._group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)

    def _run(self, file: ClaimedFile, folder: Path) -> tuple[int, _Said]:
        """Run it to its end; returns its wait status and its stderr."""
        path = file.local(folder)
        values = {
            "path": str(path),
            "id": file.id,
            "token": file.token,
            "attempt": str(file.attempt),
            "name": file.name,
        }
        arguments = self._command.arguments(values)
        row = folder / "row.json"
        row.write_bytes(as_json(file.row()))
        environ = {
            **self._environ,
            "OPSKIT_FILE_ID": file.id,
            "OPSKIT_FILE_NAME": file.name,
            "OPSKIT_FILE_PATH": str(path),
            TOKEN: file.token,
            "OPSKIT_FILE_ATTEMPT": str(file.attempt),
            "OPSKIT_FILE_ROW": str(row),
            "OPSKIT_RESULT": str(folder / "result.json"),
            "OPSKIT_SERVER_ID": file.server_id,
            # What it leaves there goes with the claim.
            "TMPDIR": str(folder),
        }
        with contextlib.ExitStack() as stack:
            stdin = os.open(os.devnull if self._command.reads_path else path, os.O_RDONLY)
            stack.callback(os.close, stdin)
            said, progress = _Said(stack), _Progress(stack, file, None if self._command.reads_path else stdin)
            pid = self._spawn(arguments, environ, stdin, said.theirs, progress.theirs)
            self._group = pid
            self._started(pid)
            try:
                for reader in (said, progress):
                    reader.close_theirs()
                _wait(pid, said, progress)
            finally:
                status = _end(pid)
                self._group = 0
                self._started(0)
            for reader in (said, progress):
                reader.drain()
        return status, said

    def _spawn(self, arguments: list[str], environ: Mapping[str, str], stdin: int, stderr: int, progress: int) -> int:
        # In this order: a descriptor that is overwritten has been used by then.
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stderr, 2),
                   (os.POSIX_SPAWN_DUP2, progress, PROGRESS_FD)]  # fmt: skip
        try:
            return os.posix_spawn(
                self._path, arguments, environ, file_actions=actions, setpgroup=0,
                setsigmask=(), setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP),
            )  # fmt: skip
        except OSError as error:
            if error.errno == errno.E2BIG:
                raise Failure("its name or path is too long to be given to a program", place=self._place) from None
            raise Failure(
                f"{self._command.program} cannot be run: {error.strerror}", kind="world", place=self._place
            ) from None

    @property
    def _place(self) -> str:
        return self._command.title

    def _judge(self, status: int, said: _Said, result: object) -> None:
        """Say what an exit code says; 0 says nothing."""
        code, last = os.waitstatus_to_exitcode(status), said.last_line()
        if code == 0:
            return
        if code == REJECTED:
            raise Reject(last or f"{self._place} exited with {REJECTED}, and wrote no reason on stderr")
        if code == DEFERRED:
            given = result.get("retryAfter") if isinstance(result, Mapping) else None
            raise Retry(last or f"{self._place} exited with {DEFERRED}", after_seconds=_seconds(given))
        told = f": {last}" if last else ""
        if code < 0:
            raise Failure(
                f"the program was killed by {_signal_name(-code)}{told}",
                outcome="crashed", place=self._place, story=said.text(),
            )  # fmt: skip
        raise Failure(
            f"exit code {code}{told}",
            kind="world" if code in (NOT_RUNNABLE, NOT_FOUND) else "file",
            place=self._place,
            story=said.text(),
        )


class _Reader(abc.ABC):
    """Our end of a pipe that a program writes to."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.fd, self.theirs = os.pipe()
        os.set_blocking(self.fd, False)
        self.open = True
        stack.callback(os.close, self.fd)
        stack.callback(self.close_theirs)

    def close_theirs(self) -> None:
        """Close the program's end in this process."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def read(self) -> bool:
        """Read some of what is there; whether there was anything."""
        try:
            data = os.read(self.fd, _READ) if self.open else b""
        except BlockingIOError:
            return False
        if self.open:
            self.open = bool(data)
            self.take(data)
        return bool(data)

    def drain(self) -> None:
        """Read what an ended program has left in its pipe; not what a process writes that has left its group."""
        for _ in range(_MOST_LEFT_READS):
            if not self.read():
                return

    @abc.abstractmethod
    def take(self, data: bytes) -> None:
        """What to do with what was read."""


class _Said(_Reader):
    """A program's stderr: passed on to the node's own; its beginning and its end are kept."""

    _BEGINNING, _END = 2_000, 7_000

    def __init__(self, stack: contextlib.ExitStack) -> None:
        super().__init__(stack)
        self._beginning = self._end = b""
        self._left_out = 0

    def take(self, data: bytes) -> None:
        left = data
        while left:
            left = left[os.write(2, left) :]
        room = self._BEGINNING - len(self._beginning)
        self._beginning += data[:room] if room > 0 else b""
        end = self._end + (data[room:] if room > 0 else data)
        self._left_out += max(0, len(end) - self._END)
        self._end = end[-self._END :]

    def text(self) -> str:
        """All that was kept."""
        between = b"\n...\n" if self._left_out else b""
        return (self._beginning + between + self._end).decode(errors="replace").strip()

    def last_line(self) -> str:
        """The last line that says something, without what a terminal obeys."""
        lines = [line.strip() for line in self.text().splitlines()]
        return masked(next((line for line in reversed(lines) if line), ""))[:1000]


class _Progress(_Reader):
    """What a program says on descriptor 3: lines of `done total`; until it does, how far it has read its stdin."""

    def __init__(self, stack: contextlib.ExitStack, file: ClaimedFile, stdin: int | None) -> None:
        super().__init__(stack)
        self._file, self._stdin = file, stdin
        self._size = os.fstat(stdin).st_size if stdin is not None else None
        self._position = 0
        self._rest = b""
        self._told = False

    def look(self) -> None:
        """Take what it has read of its stdin as progress."""
        if self._stdin is not None and (position := os.lseek(self._stdin, 0, os.SEEK_CUR)) > self._position:
            self._position = position
            self._file.progress(position, self._size)

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_PROGRESS_LINE:]
        if not data and self._rest:
            lines.append(self._rest)
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            done, total = ([int(number) for number in line.split()] + [-1])[:2]
        except ValueError:
            done = -1
        if 0 <= done < 2**63 and total < 2**63:
            self._stdin = None
            self._file.progress(done, total if total >= 0 else None)
        elif line.strip() and not self._told:
            self._told = True
            log.warning(
                "file %s (%s): %r on descriptor 3 is no progress; it takes lines of two whole numbers, done and total",
                self._file.id, self._file.name, line[:80].decode(errors="replace"),
            )  # fmt: skip


def _wait(pid: int, said: _Said, progress: _Progress) -> None:
    """Read what a program says until it has ended."""
    poll = select.poll()
    readers = {reader.fd: reader for reader in (said, progress)}
    for fd in readers:
        poll.register(fd, _POLLED)
    with contextlib.ExitStack() as stack:
        look, ended = _LOOK_WITHOUT_PIDFD_MILLISECONDS, -1
        if hasattr(os, "pidfd_open"):
            look, ended = _LOOK_MILLISECONDS, os.pidfd_open(pid)
            stack.callback(os.close, ended)
            poll.register(ended, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(look)}
            for fd in ready & readers.keys():
                readers[fd].read()
                if not readers[fd].open:
                    poll.unregister(fd)
            progress.look()
            if ended in ready or (ended < 0 and _has_ended(pid)):
                return


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(pid: int) -> int:
    """Kill what is left of a program's group, before its number can be another's; its wait status."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _result(path: Path) -> Mapping[str, Any] | Failure | None:
    """The JSON object that a program has written; what is wrong with it; None when there is none."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MOST_RESULT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Failure(f"its result cannot be read: {error.strerror}")
    if not data.strip():
        return None
    if len(data) > _MOST_RESULT_BYTES:
        return Failure(f"its result is larger than {_MOST_RESULT_BYTES >> 20} MB")
    try:
        result = json.loads(data)
    except (ValueError, RecursionError) as error:
        return Failure(f"its result is no JSON: {error}")
    return result if isinstance(result, dict) else Failure(f"its result is {type(result).__name__}, no JSON object")


def _seconds(given: object) -> float:
    """How long to wait, as a program says it."""
    if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given < float("inf"):
        return min(float(given), Retry.LONGEST_SECONDS)
    return Retry.SECONDS


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return f"signal {number} ({signal.Signals(number).name})"
    return f"signal {number}"
