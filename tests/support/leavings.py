"""Processors that fork, and that leave something behind: `--processor leavings:name`, with tests on PYTHONPATH.

Those that leave something do so at a file called "leave…", and tell in their result how the process was otherwise.
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import decimal
import gc
import locale
import logging
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import opskit


def _square(number: int) -> int:
    return number * number


def pool(file: opskit.ClaimedFile) -> dict[str, Any]:
    """Work in a pool of two processes, started as the file's name says."""
    method = (file.original_filename or "").split("-")[0]
    with multiprocessing.get_context(method).Pool(2) as workers:
        return {"squares": workers.map(_square, range(5))}


def executor(file: opskit.ClaimedFile) -> dict[str, Any]:
    """The same with concurrent.futures."""
    method = (file.original_filename or "").split("-")[0]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as workers:
        return {"squares": list(workers.map(_square, range(5)))}


def _signals(answers: Any) -> None:
    answers.put([signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] + [signal.set_wakeup_fd(-1)])


def signals_of_a_fork(file: opskit.ClaimedFile) -> dict[str, Any]:
    """How a forked process handles signals."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_signals, args=(answers,))
    process.start()
    found = answers.get()
    process.join()
    return {"signals": [int(one) for one in found]}


def fork_that_returns(file: opskit.ClaimedFile) -> dict[str, Any]:
    """A copy of the process comes back from here beside its original."""
    copy = os.fork()
    if copy:
        _, code = os.waitpid(copy, 0)
        return {"code": os.waitstatus_to_exitcode(code)}
    return {"copy": True}


def fork_that_raises(file: opskit.ClaimedFile) -> dict[str, Any]:
    """The same, with an error."""
    copy = os.fork()
    if copy:
        _, code = os.waitpid(copy, 0)
        return {"code": os.waitstatus_to_exitcode(code)}
    raise ValueError("the copy's own")


def fork_within_completing(file: opskit.ClaimedFile) -> None:
    """A copy leaves the block, too, and writes on a connection that is not its own."""
    with file.completing() as tx:
        tx.execute("INSERT INTO effects (file_id, token) VALUES (%s, %s)", (file.id, file.token))
        copy = os.fork()
        if copy:
            os.waitpid(copy, 0)
        else:
            tx.execute("INSERT INTO effects (file_id, token) VALUES ('copy', %s)", (file.token,))


def progress_of_a_fork(file: opskit.ClaimedFile) -> dict[str, Any]:
    """A forked process reports how far the file is."""
    copy = os.fork()
    if not copy:
        file.progress(done=3, total=4)
        os._exit(0)
    os.waitpid(copy, 0)
    snapshot = file.desk._shared_status.read()  # type: ignore[attr-defined]
    return {"done": snapshot.done, "total": snapshot.total}


def path(file: opskit.ClaimedFile) -> dict[str, Any]:
    """Where modules are looked for."""
    return {"path": sys.path, "here": os.getcwd()}


# -- what is left behind ---------------------------------------------------------------------

KEPT: list[Any] = []


def _close(*descriptors: int) -> None:
    for fd in descriptors:
        os.close(fd)


def _sockets() -> list[int]:
    """Descriptors of sockets: the node's connection to its database."""
    found = (int(name) for name in os.listdir("/proc/self/fd"))
    return [
        fd for fd in found if os.path.exists(f"/proc/self/fd/{fd}") and "socket" in os.readlink(f"/proc/self/fd/{fd}")
    ]


def _shared_status() -> list[int]:
    found = (int(name) for name in os.listdir("/proc/self/fd"))
    return [
        fd
        for fd in found
        if os.path.exists(f"/proc/self/fd/{fd}") and "shared-status" in os.readlink(f"/proc/self/fd/{fd}")
    ]


def _swap_socket() -> None:
    """Close the connection's descriptor, and open a file that gets its number."""
    (fd,) = _sockets()
    file = open("/tmp", "rb", opener=lambda *_: os.open(os.devnull, os.O_RDWR))  # noqa: SIM115
    os.dup2(file.fileno(), fd)
    KEPT.append(file)


def _thread(*, daemon: bool) -> None:
    threading.Thread(target=time.sleep, args=(600,), daemon=daemon).start()


def _fork() -> None:
    if not os.fork():
        time.sleep(600)


def _rlimit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _umask() -> None:
    os.umask(0o7)


LEAVE: dict[str, Callable[[], Any]] = {
    "chdir": lambda: os.chdir("/"),
    "environ": lambda: os.environ.update(LEFT="1"),
    "environ-replaced": lambda: setattr(os, "environ", dict(os.environ)),
    "umask": _umask,
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"),
    "decimal": lambda: setattr(decimal.getcontext(), "prec", 3),
    "decimal-traps": lambda: decimal.getcontext().traps.update({decimal.Inexact: True}),
    "alarm": lambda: signal.alarm(1),
    "sigterm": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "sigchld": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "sigmask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    "path": lambda: sys.path.insert(0, "/left"),
    "disable": lambda: logging.disable(logging.CRITICAL),
    "basicConfig": lambda: logging.basicConfig(force=True, level=logging.DEBUG),
    "our-handlers": lambda: [logging.getLogger("opskit").handlers.clear(), logging.basicConfig(force=True)],
    "close-stdout": lambda: sys.stdout.close(),
    "close-stderr": lambda: sys.stderr.close(),
    "replace-stdout": lambda: setattr(sys, "stdout", None),
    "close-1": lambda: _close(1),
    "warnings": lambda: warnings.simplefilter("error"),
    "loop": lambda: asyncio.set_event_loop(asyncio.new_event_loop()),
    "running-loop": lambda: asyncio._set_running_loop(asyncio.new_event_loop()),
    "recursion": lambda: sys.setrecursionlimit(150),
    "gc": gc.disable,
    "excepthook": lambda: setattr(sys, "excepthook", None),
    "clock": lambda: setattr(time, "time", lambda: 0.0),
    "monotonic": lambda: setattr(time, "monotonic", lambda: 0.0),
    "print": lambda: setattr(builtins, "print", None),
    "timeout": lambda: socket.setdefaulttimeout(0.001),
    "rlimit": _rlimit,
    "thread": lambda: _thread(daemon=False),
    "daemon": lambda: _thread(daemon=True),
    "subprocess": lambda: KEPT.append(subprocess.Popen(["sleep", "600"])),
    "fork": _fork,
    "descriptors": lambda: KEPT.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(100)),
    "socket": lambda: _close(*_sockets()),
    "socket-swapped": _swap_socket,
    "shared_status": lambda: _close(*_shared_status()),
    "closerange": lambda: os.closerange(3, 64),
}


def leave(file: opskit.ClaimedFile) -> dict[str, Any] | None:
    """Leave behind what the file is called, and fail if it says so, too; or tell how this process is."""
    what, _, how = (file.original_filename or "").partition(" ")
    if what == "look":
        return _look()
    LEAVE[what]()
    if how == "raise":
        raise opskit.Reject("as told")
    return None


def leave_slowly(file: opskit.ClaimedFile) -> dict[str, Any] | None:
    """The same, after a second."""
    time.sleep(1)
    return leave(file)


def _look() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "environ": [os.environ.get("LEFT"), type(os.environ).__name__],
        "umask": os.umask(0o22),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": repr(decimal.getcontext().copy()),
        "alarm": signal.alarm(0),
        "signals": [str(signal.getsignal(number)).split(" at ")[0] for number in signal.valid_signals()],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "path": sys.path,
        "logging": [
            logging.root.manager.disable,
            len(logging.root.handlers),
            len(logging.getLogger("opskit").handlers),
        ],
        "streams": [stream is not None and not stream.closed for stream in (sys.stdout, sys.stderr)],
        "warnings": len(warnings.filters),
        "loop": asyncio._get_running_loop() is None,
        "recursion": sys.getrecursionlimit(),
        "gc": gc.isenabled(),
        "hook": sys.excepthook is sys.__excepthook__,
        "clocks": [time.time() > 1e9, time.monotonic() > 0, callable(print)],
        "timeout": socket.getdefaulttimeout(),
        "rlimit": resource.getrlimit(resource.RLIMIT_NOFILE),
        "threads": len(threading.enumerate()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def clean(file: opskit.ClaimedFile) -> dict[str, Any]:
    """Do what leaves nothing that matters: imports, a thread, a program and a pool that end, a kept connection."""
    import statistics
    import xml.dom.minidom

    thread = threading.Thread(target=time.sleep, args=(0.01,))
    thread.start()
    subprocess.run(["true"], check=True)
    KEPT.append(socket.socketpair())
    decimal.Decimal(1) / 3
    asyncio.run(asyncio.sleep(0))
    warnings.warn("as libraries do", stacklevel=1)
    return {"pid": os.getpid(), "used": [statistics.__name__, xml.dom.minidom.__name__]}
