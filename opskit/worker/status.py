"""The shared status: a page of memory that a child writes and its supervisor reads.

Writing costs about a microsecond and waits for nobody, so that a child may report every read and every
claim; a supervisor reads it whenever it likes, also after the child has died.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import tempfile
import time
import uuid
from dataclasses import dataclass
from typing import Any

# token, started, moved [s, monotonic], done, total, streak began [s, monotonic], group, completed, failed, retried,
# streak; before it the sequence number, which is odd while it is being written
_LAYOUT = struct.Struct("=16sddqqdqQQQQ")
_SEQUENCE = struct.Struct("=Q")
_NO_TOKEN = bytes(16)
# moved, done, total: where they stand within the whole
_PROGRESS = struct.Struct("=dqq")
# Beside it, as long as a file is in hand: which it is, for people; and what only a node's own processes know.
_FILE = struct.Struct("=qH240s")
_FILE_AT, _SECRET_AT, _SECRET = 512, 1024, 16
# How much of the child's output was read, and whether some is being read just now.
_READING = struct.Struct("=QQ")
_READING_AT = 1088
_TOKEN_AT = _SEQUENCE.size
_PROGRESS_AT = _TOKEN_AT + struct.calcsize("=16sd")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The shared status at one moment.

    Attributes:
        token: The claim that the child works on; "" when none.
        started: When it began with it [s, monotonic clock, the same in all processes of a machine].
        moved: When the file last moved [s, monotonic].
        done, total: Progress in the processor's own steps; None when unknown.
        completed, failed, retried: Attempts that ended so since the node started.
        streak: How many of the last attempts in a row ended badly, without the file being to blame.
        streak_began: When the first of them did [s, monotonic].
        group: The process group of the program that works on the file; 0 when none does.
        file, attempt: Which file that is, and which attempt at it; the id of a file is cut at 240 bytes.
    """

    token: str
    started: float
    moved: float
    done: int | None
    total: int | None
    completed: int
    failed: int
    retried: int
    streak: int
    streak_began: float
    group: int
    file: str
    attempt: int


class SharedStatus:
    """One page of memory that a supervisor makes and its children inherit."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            if hasattr(os, "memfd_create"):
                fd = os.memfd_create("opskit-shared-status")
            else:
                with tempfile.TemporaryFile() as file:
                    fd = os.dup(file.fileno())
            os.ftruncate(fd, mmap.PAGESIZE)
            os.pwrite(fd, secrets.token_hex(_SECRET // 2).encode(), _SECRET_AT)
        else:
            os.set_inheritable(fd, False)
        self.fd = fd
        self._copy = False
        self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        self._token, self._started, self._moved, self._done, self._total, self._streak_began, *rest = self._body()
        self._group, self._completed, self._failed, self._retried, self._streak = rest
        # A child that died while it wrote left an odd number.
        (sequence,) = _SEQUENCE.unpack_from(self._memory)
        self._sequence: int = sequence + sequence % 2

    @property
    def secret(self) -> bytes:
        """What only a node's own processes know: letters and digits."""
        return self._memory[_SECRET_AT : _SECRET_AT + _SECRET]

    @property
    def reading(self) -> tuple[int, int]:
        """How much of the child's output its supervisor has read [bytes], and 1 while it is reading, else 0."""
        return _READING.unpack_from(self._memory, _READING_AT)

    def note_reading(self, read: int, busy: int) -> None:
        """Set `reading`; called by the supervisor."""
        _READING.pack_into(self._memory, _READING_AT, read, busy)

    def begin(self, token: str, file: str = "", attempt: int = 0) -> None:
        """The child works on a claim from now."""
        id = file.encode("utf-8", "replace")[:240]
        _SEQUENCE.pack_into(self._memory, 0, self._sequence + 1)
        _FILE.pack_into(self._memory, _FILE_AT, attempt, len(id), id)
        self._token = bytes.fromhex(token.replace("-", ""))
        self._started = self._moved = time.monotonic()
        self._done = self._total = -1
        self._write()

    def program(self, group: int) -> None:
        """A program works on the file, in this process group; 0: it has ended."""
        self._group = group
        self._write()

    def progress(self, done: int | None, total: int | None) -> None:
        """The file moves."""
        self._done = -1 if done is None else done
        self._total = -1 if total is None else total
        self._moved = time.monotonic()
        self._write()

    def settled(self) -> None:
        """Count the claim as completed while its processor still runs; no claim is held any more."""
        self._token = _NO_TOKEN
        self._completed += 1
        self._streak = 0
        self._write()

    def end(self, *, completed: int = 0, failed: int = 0, retried: int = 0, bad: bool = False) -> None:
        """The child works on nothing; count how it ended, and whether it was bad without the file being to blame."""
        if bad and not self._streak:
            self._streak_began = time.monotonic()
        self._streak = self._streak + 1 if bad else 0 if completed else self._streak
        self._token = _NO_TOKEN
        self._started = self._moved = 0.0
        self._done = self._total = -1
        self._completed += completed
        self._failed += failed
        self._retried += retried
        self._write()

    def forgive(self) -> None:
        """The attempts that ended badly in a row are forgotten: the node was resumed, or is in quarantine."""
        if self._streak:
            self._streak = 0
            self._write()

    def read(self) -> Snapshot:
        """What the shared_status says now, in one piece."""
        for _ in range(100):
            (before,) = _SEQUENCE.unpack_from(self._memory)
            values = self._body()
            attempt, length, id = _FILE.unpack_from(self._memory, _FILE_AT)
            if before % 2 == 0 and _SEQUENCE.unpack_from(self._memory) == (before,):
                break
        token, started, moved, done, total, streak_began, group, completed, failed, retried, streak = values
        return Snapshot(
            str(uuid.UUID(bytes=token)) if token != _NO_TOKEN else "",
            started,
            moved,
            None if done < 0 else done,
            None if total < 0 else total,
            completed,
            failed,
            retried,
            streak,
            streak_began,
            group,
            id[:length].decode("utf-8", "replace"),
            attempt,
        )

    def disarm(self) -> None:
        """In a forked copy: only progress is written from here, and only while the file is still in hand."""
        self._copy = True

    def _write(self) -> None:
        if self._copy:
            if self._memory[_TOKEN_AT : _TOKEN_AT + 16] == self._token != _NO_TOKEN:
                _PROGRESS.pack_into(self._memory, _PROGRESS_AT, self._moved, self._done, self._total)
            return
        _SEQUENCE.pack_into(self._memory, 0, self._sequence + 1)
        _LAYOUT.pack_into(
            self._memory, _SEQUENCE.size, self._token, self._started, self._moved, self._done, self._total,
            self._streak_began, self._group, self._completed, self._failed, self._retried, self._streak,
        )  # fmt: skip
        self._sequence += 2
        _SEQUENCE.pack_into(self._memory, 0, self._sequence)

    def _body(self) -> tuple[Any, ...]:
        return _LAYOUT.unpack_from(self._memory, _SEQUENCE.size)

    def successor(self, *, failed: int = 0, retried: int = 0, bad: bool = False) -> SharedStatus:
        """A fresh status after a child has died, perhaps while it wrote: keeps the counts, drops the claim."""
        fresh = SharedStatus(self.fd)
        fresh._group = 0
        fresh.end(failed=failed, retried=retried, bad=bad)
        return fresh

    def detach(self) -> None:
        """Give this view of the memory back; others have theirs."""
        self._memory.close()

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.fd)
