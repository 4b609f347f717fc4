"""Forks: a process that a processor forks is no node. It claims and completes nothing and sends no heartbeat."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def disarm(*parts: Callable[[], None]) -> None:
    """Have every copy that is forked from now handle signals as Python does by default, and take *parts* from it.

    A pool that ends its workers with SIGTERM would wait for ever for one that takes it as its node's wish to drain. So
    these signals are held back over the fork: one that comes before the copy handles it by default would be lost, as
    Python forgets in a copy what it has noted of signals.
    """
    ours = {number: signal.getsignal(number) for number in _OURS}
    forking = threading.local()

    def hold() -> None:
        forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)

    def let_go() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, forking.mask)

    def in_copy() -> None:
        try:
            signal.set_wakeup_fd(-1)
            for number, handler in ours.items():
                if signal.getsignal(number) is handler:
                    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            for part in parts:
                part()
        finally:
            let_go()

    os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=in_copy)


def leave(code: int) -> None:
    """End a copy that has come back into its node's loop."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, or closed
            stream.flush()
    os._exit(code)
