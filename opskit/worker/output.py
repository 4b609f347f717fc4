"""The output of processors: read from the child's stdout and stderr, logged, and stored.

A thread of the supervisor's reads it, so that a processor never waits for the database. Behind the output of an attempt
the child leaves a mark that says whose it was; until then, its status says who works. A silent attempt leaves none.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import select
import struct
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Iterable

from opskit.queue.attempt_logs import Chunk
from opskit.support.logs import Lines, masked
from opskit.worker.status import SharedStatus, Snapshot

log = logging.getLogger("opskit")
MOST_BEGINNING = MOST_END = 128 << 10
"""How much of the beginning and of the end of what an attempt says is kept [bytes]."""
_CHUNK = 32 << 10
_LONGEST_LINE = 16 << 10
_PIPE = 1 << 20
_F_SETPIPE_SZ = 1031
_STEP_SECONDS = 0.5
_MOST_UNKEPT = 16 << 20
_LONGEST_MARK = 2_000
_START = b"\x1e"


def unread(fd: int) -> int:
    """The number of unread bytes in a pipe; 0 where the system does not say."""
    buffer = bytearray(4)
    try:
        fcntl.ioctl(fd, termios.FIONREAD, buffer)
    except OSError:
        return 0
    count: int = struct.unpack("i", buffer)[0]
    return count


def mark(secret: bytes, file: str, attempt: int, token: str) -> bytes:
    """The mark that ends the output of an attempt."""
    return _START + secret + json.dumps([file, attempt, token]).encode() + b"\n"


class AttemptLog:
    """The output of one attempt: whole lines, and of those the beginning and the end as chunks to be stored."""

    def __init__(self, file: str, attempt: int, token: str) -> None:
        self.file, self.attempt, self.token = file, attempt, token
        self.lines = Lines(logging.INFO, f"file {file} attempt {attempt}: ", file=file, attempt=attempt, token=token)
        self._rest = b""
        self.since = 0.0
        self._said = 0
        self._beginning: deque[tuple[int, bytes]] = deque()
        self._end: deque[tuple[int, bytes]] = deque()
        self._end_size = 0
        self._kept_end: deque[tuple[int, int]] = deque()

    @property
    def rest(self) -> bool:
        """Whether a line was begun and not ended."""
        return bool(self._rest)

    @property
    def unkept(self) -> int:
        """The size of what is not stored yet [bytes]."""
        return sum(len(text) for _, text in self._beginning) + self._end_size

    def add(self, data: bytes) -> None:
        """Add output; an unfinished line waits for its end."""
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            self._say(self._rest + whole + newline)
            self._rest = rest
        else:
            self._rest += data
        self.since = time.monotonic()
        if len(self._rest) > _LONGEST_LINE:
            self.settle()

    def settle(self) -> None:
        """Take the unfinished line, too."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._say(rest)

    def _say(self, data: bytes) -> None:
        text = masked(data.decode("utf-8", "replace").replace("\0", "\ufffd"))
        self.lines.write(text)
        self._keep(text.encode("utf-8", "replace"))

    def _keep(self, data: bytes) -> None:
        room = max(0, MOST_BEGINNING - self._said)
        for place, kept in ((self._beginning, data[:room]), (self._end, data[room:])):
            while kept:
                piece = kept[:_CHUNK]
                if len(kept) > _CHUNK:  # not within a character
                    piece = piece[: max(1, _CHUNK - len(_torn(piece)))]
                place.append((self._said, piece))
                self._said += len(piece)
                kept = kept[len(piece) :]
                if place is self._end:
                    self._end_size += len(piece)
        while self._end and self._end_size - len(self._end[0][1]) >= MOST_END:
            self._end_size -= len(self._end.popleft()[1])

    def take(self) -> list[Chunk]:
        """The chunks that have to be kept now."""
        chunks = [self._chunk(place, data) for place, data in _joined(self._beginning)]
        for place, data in _joined(self._end):
            over = self._outdated(len(data))
            chunks.append(self._chunk(place, data, over[0] if over else None))
            chunks += [Chunk(token=self.token, sequence=None, size=0, text="", over=each) for each in over[1:]]
            self._kept_end.append((place, len(data)))
        self._beginning.clear()
        self._end.clear()
        self._end_size = 0
        return chunks

    def _outdated(self, size: int) -> list[int]:
        """Which kept chunks of the end go, when *size* bytes come to it."""
        gone, total = [], sum(length for _, length in self._kept_end) + size
        while self._kept_end and total - self._kept_end[0][1] >= MOST_END:
            place, length = self._kept_end.popleft()
            total -= length
            gone.append(place)
        return gone

    def _chunk(self, place: int, data: bytes, over: int | None = None) -> Chunk:
        text = data.decode("utf-8", "replace")
        return Chunk(token=self.token, sequence=place, size=len(data), text=text, over=over)


def _torn(piece: bytes) -> bytes:
    """The beginning of a character that a piece ends with, without its end."""
    for length in range(1, 4):
        lead = piece[-length]
        if lead & 0xC0 == 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return piece[-length:] if needed > length else b""
        if lead < 0x80:
            return b""
    return b""


def _joined(pieces: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Join pieces that follow one another, up to the size of a chunk."""
    joined: list[tuple[int, bytes]] = []
    for place, data in pieces:
        if joined and joined[-1][0] + len(joined[-1][1]) == place and len(joined[-1][1]) + len(data) <= _CHUNK:
            joined[-1] = (joined[-1][0], joined[-1][1] + data)
        else:
            joined.append((place, data))
    return joined


class Output:
    """The pipe that a child's stdout and stderr lead to, and the thread that reads it.

    Args:
        status: The node's shared status.

    Attributes:
        theirs: The end that the child writes to.
    """

    def __init__(self, status: SharedStatus) -> None:
        self._fd, self.theirs = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.theirs, _F_SETPIPE_SZ, _PIPE)
        self._status = SharedStatus(status.fd)
        self._mark = _START + status.secret
        self._lock = threading.Lock()
        self._logs: dict[str, AttemptLog] = {}
        self._nobody = Lines(logging.INFO, "")
        self._carried = b""
        self._busy = self._stop = False
        self._spoke_at = 0.0
        self._thread = threading.Thread(target=self._read, name="output", daemon=True)
        self._thread.start()

    @property
    def speaks(self) -> bool:
        """Whether there is something to be kept."""
        return bool(self._logs)

    def take(self) -> list[Chunk]:
        """What has to be kept now; attempts that have ended are forgotten."""
        with self._lock:
            chunks = [chunk for one in self._logs.values() for chunk in one.take()]
            current = self._status.read().token
            for token in [token for token, one in self._logs.items() if token != current and not one.rest]:
                del self._logs[token]
        return chunks

    def drained(self, seconds: float = 2.0) -> None:
        """Wait until all that a dead child has said is read."""
        deadline = time.monotonic() + seconds
        while (unread(self._fd) or self._busy) and time.monotonic() < deadline:
            time.sleep(0.002)
        self._settle(0.0)

    def close(self) -> None:
        """Stop reading."""
        self._stop = True
        os.close(self.theirs)
        self._thread.join(2 * _STEP_SECONDS)
        if not self._thread.is_alive():
            os.close(self._fd)
            self._status.detach()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        read = 0
        while not self._stop:
            if not poll.poll(_STEP_SECONDS * 1000):
                self._settle(_STEP_SECONDS)
                continue
            before = self._status.read()
            # In this order: an attempt whose output is being read, or was, leaves a mark.
            self._busy = True
            self._status.note_reading(read, 1)
            try:
                data = os.read(self._fd, _PIPE)
                if not data:
                    return
                read += len(data)
                with self._lock:
                    self._sort(data, before, self._status.read())
            except Exception as error:
                log.warning("what a processor has printed is lost: %s: %s", type(error).__name__, error)
            finally:
                self._status.note_reading(read, 0)
                self._busy = False

    def _sort(self, data: bytes, before: Snapshot, now: Snapshot) -> None:
        """Give each attempt what it has said: what stands before its mark. What nobody has marked is the current's."""
        data, self._carried = self._carried + data, b""
        begin, marked = 0, False
        while (end := data.find(self._mark, begin)) >= 0:
            newline = data.find(b"\n", end)
            if newline < 0:
                break
            file, attempt, token = json.loads(data[end + len(self._mark) : newline])
            self._say(data[begin:end], file, attempt, token)
            if ended := self._logs.get(token):
                ended.settle()
            begin, marked = newline + 1, True
        rest = data[begin:]
        if marked or before.token != now.token or self._mark[:1] in rest[-_LONGEST_MARK:]:
            # Whose that is, is not sure: its mark will tell, or that the same attempt still works in a moment.
            rest, self._carried = (b"", rest) if len(rest) < _PIPE else (rest, b"")
        self._say(rest, now.file, now.attempt, now.token)

    def _say(self, data: bytes, file: str, attempt: int, token: str) -> None:
        if not data:
            return
        if not token:
            self._nobody.write(masked(data.decode("utf-8", "replace")))
            return
        one = self._logs.get(token)
        if one is None:
            for other in self._logs.values():
                other.settle()
            one = self._logs[token] = AttemptLog(file, attempt, token)
        one.add(data)
        if sum(each.unkept for each in self._logs.values()) > _MOST_UNKEPT:
            self._logs.pop(next(iter(self._logs)))

    def _settle(self, age_seconds: float) -> None:
        """Take lines that were begun and not ended for a while, such as progress bars."""
        old = time.monotonic() - age_seconds
        with self._lock:
            if self._carried:
                now, self._carried, data = self._status.read(), b"", self._carried
                self._say(data, now.file, now.attempt, now.token)
            for one in self._logs.values():
                if one.since <= old:
                    one.settle()


def speak_by_line() -> None:
    """Flush a processor's prints line by line, so that they are read while it runs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def hear_libraries() -> None:
    """Keep what libraries and processors log from INFO on, unless the processor's module has set up logging itself."""
    if not logging.root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.INFO)
