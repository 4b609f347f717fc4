"""The state of a child's process, before a processor has run in it and after.

What a processor leaves behind costs its file at most: a child in whose process something is off completes the file in
hand, claims nothing more, and is replaced. Nothing is put back. What a module has set once, because it was asked to at
its first file, has to be set for the next one, too, and a new process is the only one of which that is known.

What a processor's module sets while it is imported belongs to the process: it is there before the first file.
"""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]  # `signal` makes an enum of each answer: ten times as long
import _thread
import builtins
import contextlib
import datetime
import decimal
import gc
import logging
import os
import signal
import socket
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from opskit.database.session import Connection

log = logging.getLogger("opskit")
_SIGNALS = tuple(
    int(getattr(signal, name))
    for name in (
        "SIGTERM", "SIGINT", "SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
        "SIGPROF", "SIGXCPU", "SIGXFSZ",
    )
)  # fmt: skip
_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_STACK")
# So many descriptors may stay open: a connection or a file that a processor keeps for the next file is no harm.
_MOST_DESCRIPTORS = 64
# Threads that a library starts once for a process, and keeps: fsspec's loop, and what that loop resolves names in.
_LOOP = "fsspecIO"
_OF_THE_LOOP = "asyncio_"
_END_OF_A_THREAD_SECONDS = 0.1
_sleep, _monotonic = time.sleep, time.monotonic


def _kept_threads() -> int:
    names = [thread.name for thread in threading.enumerate()]
    if _LOOP not in names:
        return 0
    return sum(name == _LOOP or name.startswith(_OF_THE_LOOP) for name in names)


class ProcessState:
    """The state that is compared after each file, in some ten microseconds.

    Args:
        connection: Gives its connection to the database; None while there is none.
    """

    def __init__(self, connection: Callable[[], Connection | None] = lambda: None) -> None:
        self._connection = connection
        self._limits = _limits()
        self._usual = self._disabled = logging.root.manager.disable
        self._handlers = list(log.handlers)
        self._log = (log.level, log.propagate, log.disabled)
        self._modules = len(sys.modules)
        self._environ = dict(_environment())
        self._path = list(sys.path)
        self._filters = list(warnings.filters)
        self._root = list(logging.root.handlers)
        self._threads = _thread._count()
        self._children = set(_children())
        self._lowest = _lowest_descriptor()
        self._known = connection()
        self._inode = _inode(self._known)
        self._values = _values()

    def changed(self) -> str:
        """What a processor has left behind, in a few words; "" for nothing."""
        self._hear_us()
        if len(sys.modules) != self._modules:
            # Libraries that are imported at the first file they are needed for add filters of their own.
            self._modules = len(sys.modules)
            self._filters = list(warnings.filters)
        if self._disabled != self._usual:
            return "logging.disable"
        values = _values()
        if values != self._values:
            signal.setitimer(signal.ITIMER_REAL, 0)  # no alarm may strike what follows
            return next(name for name, was, now in zip(_NAMES, self._values, values, strict=True) if was != now)
        # Without the module nobody changes a limit, and seven calls are saved.
        if "resource" in sys.modules and _limits() != self._limits:
            return "resource limits"
        if _environment() != self._environ:
            return "os.environ"
        if sys.path != self._path:
            return "sys.path"
        if warnings.filters != self._filters:
            return "the filters of warnings"
        if logging.root.handlers != self._root:
            return "the handlers of the root logger"
        if _thread._count() > self._threads and (left := self._left_threads()):
            return left
        if _has_children() and (left := self._left_children()):
            return left
        if _event_loop():
            return "an event loop"
        return self._left_descriptors()

    def _hear_us(self) -> None:
        """Restore the node's own log, whatever the processor did to logging."""
        self._disabled = logging.root.manager.disable
        if self._disabled != self._usual:
            logging.disable(self._usual)
        if log.handlers != self._handlers:
            log.handlers[:] = self._handlers
        if (log.level, log.propagate, log.disabled) != self._log:
            log.level, log.propagate, log.disabled = self._log
            log.manager._clear_cache()  # type: ignore[attr-defined]  # what setLevel() does

    def _left_threads(self) -> str:
        deadline = _monotonic() + _END_OF_A_THREAD_SECONDS
        while _thread._count() > self._threads and _monotonic() < deadline:
            kept = _kept_threads()
            if _thread._count() - kept <= self._threads:
                return ""
            _sleep(0.005)
        if _thread._count() <= self._threads:
            return ""
        names = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
        return f"a running thread ({', '.join(names)[:100] or 'unnamed'})"

    def _left_children(self) -> str:
        """Processes that it has started and that run; those that have ended are reaped."""
        for pid in _children() - self._children - _helpers():
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    return f"a running process ({pid})"
        return ""

    def _left_descriptors(self) -> str:
        connection, lowest = self._connection(), _lowest_descriptor()
        if lowest < self._lowest:
            _mend_log()
        if connection is not self._known:
            self._known, self._inode, self._lowest = connection, _inode(connection), lowest
        elif connection is not None and not connection.closed and _inode(connection) != self._inode:
            return LOST_CONNECTION
        if lowest < self._lowest:
            return "a descriptor closed that is not its own"
        return "many open descriptors" if lowest > self._lowest + _MOST_DESCRIPTORS else ""


def _mend_log() -> None:
    """Our log goes to the process's own stderr when its descriptor was closed."""
    for handler in log.handlers:
        if isinstance(handler, logging.StreamHandler):
            try:
                os.fstat(handler.stream.fileno())
            except (OSError, ValueError):
                handler.setStream(sys.__stderr__)


LOST_CONNECTION = "the descriptor of our own connection closed"
_NAMES = (
    "the current folder", "umask", "the locale", "the decimal context", "signal handlers", "blocked signals",
    "an alarm",
    "sys.stdin", "sys.stdout", "sys.stderr", "a closed standard stream", "sys.excepthook",
    "sys.unraisablehook", "the recursion limit", "garbage collection", "its thresholds", "sys.settrace",
    "sys.setprofile",
    "the clock of time", "time.monotonic", "time.sleep", "datetime", "datetime.date", "open", "print", "socket.socket",
    "socket.setdefaulttimeout", "os.environ", "sys.path", "sys.modules", "the root logger's level",
    "warnings.showwarning", "threading.excepthook", "the switch interval",
)  # fmt: skip


def _values() -> tuple[Any, ...]:
    """The values that are compared at once, in the order of _NAMES."""
    context = decimal.getcontext()
    try:
        folder = os.getcwd()
    except OSError:
        folder = ""
    umask = os.umask(0o77)
    os.umask(umask)
    return (
        folder,
        umask,
        _locale.setlocale(_locale.LC_ALL, None),
        (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, _traps(context)),
        [_signal.getsignal(number) for number in _SIGNALS],
        _signal.pthread_sigmask(_signal.SIG_BLOCK, ()),
        _signal.getitimer(_signal.ITIMER_REAL) == (0.0, 0.0),
        sys.stdin,
        sys.stdout,
        sys.stderr,
        any(getattr(stream, "closed", False) for stream in (sys.stdin, sys.stdout, sys.stderr)),
        sys.excepthook,
        sys.unraisablehook,
        sys.getrecursionlimit(),
        gc.isenabled(),
        gc.get_threshold(),
        sys.gettrace(),
        sys.getprofile(),
        time.time,
        time.monotonic,
        time.sleep,
        datetime.datetime,
        datetime.date,
        builtins.open,
        builtins.print,
        socket.socket,
        socket.getdefaulttimeout(),
        id(os.environ),
        id(sys.path),
        id(sys.modules),
        logging.root.level,
        warnings.showwarning,
        threading.excepthook,
        sys.getswitchinterval(),
    )


def _limits() -> list[Any]:
    loaded = "resource" in sys.modules
    import resource

    found = [resource.getrlimit(getattr(resource, name)) for name in _LIMITS if hasattr(resource, name)]
    if not loaded:
        del sys.modules["resource"]
    return found


def _inode(connection: Connection | None) -> int:
    """Which socket a connection speaks through; -1 when its descriptor is none."""
    with contextlib.suppress(OSError, psycopg.Error):
        if connection is not None:
            found = os.fstat(connection.fileno())
            return found.st_ino if stat.S_ISSOCK(found.st_mode) else -1
    return -1


def _traps(context: decimal.Context) -> int:
    """Which signals are trapped, as a number: to compare their mapping takes ten times as long."""
    traps = context.traps
    return sum(traps[kind] << place for place, kind in enumerate(_TRAPPED))


_TRAPPED = (decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.FloatOperation, decimal.Inexact)


def _environment() -> dict[bytes, bytes]:
    """The environment as bytes: `os.environ` would decode each name and value for the comparison."""
    data: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # there is no other way to it
    return data


def _lowest_descriptor() -> int:
    """The lowest that is free: lower when one was closed, higher when one stays open."""
    try:
        fd = os.dup(2)
    except OSError:
        return 2
    os.close(fd)
    return fd


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                found.update(map(int, (task / "children").read_text().split()))
    return found


def _helpers() -> set[int]:
    """The processes that multiprocessing keeps for all its pools."""
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    server = sys.modules.get("multiprocessing.forkserver")
    pids = (
        getattr(getattr(tracker, "_resource_tracker", None), "_pid", None),
        getattr(getattr(server, "_forkserver", None), "_forkserver_pid", None),
    )
    return {pid for pid in pids if pid is not None}


def _event_loop() -> bool:
    """Whether an event loop runs, or is set for this thread."""
    events = sys.modules.get("asyncio.events")
    if events is None:
        return False
    policy = events._event_loop_policy
    return events._get_running_loop() is not None or getattr(getattr(policy, "_local", None), "_loop", None) is not None
