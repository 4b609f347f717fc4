"""Forks: a process that a processor forks is no node. It claims and completes nothing and sends no heartbeat."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def disarm(*parts: Callable[[], None]) -> None:
    """Have every copy that is forked from now handle signals as Python does by default, and take *parts* from it.

    A pool that ends its workers with SIGTERM would wait for ever for one that takes it as its node's wish to drain.
    """
    ours = {number: signal.getsignal(number) for number in _OURS}

    def in_copy() -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in ours.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for part in parts:
            part()

    os.register_at_fork(after_in_child=in_copy)


def leave(code: int) -> None:
    """End a copy that has come back into its node's loop."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or closed
            stream.flush()
    os._exit(code)
