"""Stopping: a signal or an operator stops a node; a signal also wakes its supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable

log = logging.getLogger("opskit")


class Stop:
    """Whether a supervisor is told to stop, when and why.

    Args:
        grace_seconds: How long the file in hand may still take [s].
        on_first: Called once, when it is first told to stop.

    Attributes:
        asked_at: When it was told to stop [s, monotonic]; None while it was not.
        reason: Why it stops, or has stopped.
        signals: How many signals have told it to.
    """

    def __init__(self, grace_seconds: float, on_first: Callable[[], None]) -> None:
        self.asked_at: float | None = None
        self.reason = "stopped"
        self.signals = 0
        self._grace_seconds = grace_seconds
        self._on_first = on_first
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    @property
    def deadline(self) -> float | None:
        """When the grace is over [s, monotonic]; None while it is not told to stop."""
        return None if self.asked_at is None else self.asked_at + self._grace_seconds

    def ask(self, reason: str) -> None:
        """Stop the node; the first reason counts."""
        if self.asked_at is None:
            self.asked_at, self.reason = time.monotonic(), reason
            log.info("stopping: %s; the file in hand may take %g s more", reason, self._grace_seconds)
            self._on_first()

    def obey_signals(self) -> None:
        """Have SIGTERM, SIGINT and SIGHUP stop it, and every signal end its `wait`."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        # nohup has it ignored, and means it.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_signal(self, number: int, _: object) -> None:
        # A terminal that closes may send it twice, by its shell and by the kernel: nobody has asked twice.
        if number != signal.SIGHUP or self.asked_at is None:
            self.signals += 1
        self.ask(f"told by {signal.Signals(number).name}")

    def wake(self) -> None:
        """End the `wait` that comes."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    def wait(self, seconds: float, other: int | None = None) -> bool:
        """Wait for a signal, or until *other* can be read; returns whether it can.

        Args:
            seconds: At most so long [s].
            other: A descriptor; None for none.
        """
        ready, _, _ = select.select([self._wake_read, *([] if other is None else [other])], [], [], seconds)
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        return other in ready
