"""A pool of nodes on one machine: each with a server ID of its own, started again when it dies, drained together."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Any

from opskit.database import Database
from opskit.files.processor import check_processor
from opskit.local.nodes import Part
from opskit.queue.server_id import check_server_id, server_id
from opskit.settings import Settings
from opskit.support.logs import set_up_logging
from opskit.support.wording import count
from opskit.worker.child_process import cause_of_death

log = logging.getLogger("opskit")
_QUICK_SECONDS = 10.0  # a node that ends sooner has not got going
_SLOWEST_RESTART = 30.0
_CANNOT_BEGIN = (1, 2)


@dataclasses.dataclass
class _Member:
    """A node of the pool.

    Attributes:
        part: Its process.
        code: Its exit code, once it has ended for good; None while it is to run.
        pause: How long it waited last before it was started again [s].
        start_at: When it is started again [s, monotonic]; None while it runs.
    """

    part: Part
    code: int | None = None
    pause: float = 0.0
    start_at: float | None = None


class Pool:
    """Nodes that are children of this process.

    Args:
        settings: What each of them shall do; their server IDs are this one's with -1, -2, … at the end.
        count: How many there are.
        arguments: Flags that each of them is given.
    """

    def __init__(self, settings: Settings, count: int, arguments: Sequence[str] = ()) -> None:
        base = server_id(settings)
        if settings.database_url is None:
            # The embedded server is started once, by us.
            with Database(settings, pooled=False) as db:
                settings = db.settings
        self._settings = settings
        self._members = [self._member(check_server_id(f"{base}-{number}"), arguments) for number in range(1, count + 1)]
        self._stop_signals = 0
        self._stop_asked_at: float | None = None
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def _member(self, name: str, arguments: Sequence[str]) -> _Member:
        flags = [*arguments, "--json", "--parent", str(os.getpid())]
        return _Member(Part(name, "opskit.worker", flags, dataclasses.replace(self._settings, node_id=name), None))

    def run(self) -> int:
        """Keep the nodes running until told to stop, or until all have ended; returns the exit code."""
        self._obey_signals()
        try:
            for member in self._members:
                member.part.start()
            while any(member.code is None for member in self._members):
                self._wait()
                for member in self._members:
                    self._look_after(member)
        finally:
            for member in self._members:
                if member.code is None:
                    member.part.signal(signal.SIGKILL)
                    member.part.end(5)
        return max(member.code or 0 for member in self._members)

    def summary(self) -> dict[str, Any]:
        """What the nodes have done since each was started last, for programs."""
        nodes = [member.part.summary() or {"serverId": member.part.name} for member in self._members]
        return {
            "environment": self._settings.env,
            **{key: sum(node.get(key, 0) for node in nodes) for key in ("completed", "failed", "retried")},
            "restarts": sum(member.part.restarts for member in self._members),
            "nodes": nodes,
        }

    def _look_after(self, member: _Member) -> None:
        if member.code is not None:
            return
        if member.start_at is not None:
            if self._stop_asked_at is not None:
                member.code = 0
            elif time.monotonic() >= member.start_at:
                member.start_at = None
                member.part.restarts += 1
                member.part.start()
            return
        process = member.part.process
        code = None if process is None else process.poll()
        if code is None:
            return
        quick = time.monotonic() - member.part.started < _QUICK_SECONDS
        if code == 0 or self._stop_asked_at is not None:
            # Done, drained by an operator, or told to stop.
            member.code = 0 if code == 0 else 1
        elif code in _CANNOT_BEGIN and quick:
            log.error("node %s cannot begin (exit code %d); the others finish their files", member.part.name, code)
            member.code = code
            self._ask_to_stop()
        else:
            member.pause = min(max(0.5, member.pause * 2), _SLOWEST_RESTART) if quick else 0.0
            member.start_at = time.monotonic() + member.pause
            why = cause_of_death(code).replace("the child", "")
            log.error("node %s%s; it is started again in %g s", member.part.name, why, member.pause)

    # -- signals -------------------------------------------------------------------------------

    def _obey_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup has it ignored, and means it.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_stop_signal(self, number: int, _: object) -> None:
        # A terminal that closes may send it twice: nobody has asked twice.
        if number != signal.SIGHUP or self._stop_asked_at is None:
            self._stop_signals += 1
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        """Have every node finish its file; told a second time, give it back."""
        if self._stop_asked_at is None:
            log.info("stopping %s; files in hand may take %g s more", count(len(self._members), "node"), self._grace)
            self._stop_asked_at = time.monotonic()
        for member in self._members:
            member.part.signal(signal.SIGTERM)

    @property
    def _grace(self) -> float:
        return self._settings.drain_seconds

    def _wait(self) -> None:
        """Until a signal comes, such as that of a node that has ended, or a node is to be started again."""
        now = time.monotonic()
        starts = [member.start_at for member in self._members if member.start_at is not None]
        ready, _, _ = select.select([self._wake_read], [], [], max(0.0, min([*starts, now + 1.0]) - now))
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)


def run_pool(settings: Settings, count: int, arguments: Sequence[str], *, verbose: bool) -> tuple[int, dict[str, Any]]:
    """Run a pool in this process until it is told to stop; returns the exit code and what its nodes have done."""
    check_processor(settings)
    set_up_logging(server_id(settings), settings.env, verbose=verbose)
    pool = Pool(settings, count, arguments)
    code = pool.run()
    return code, pool.summary()
