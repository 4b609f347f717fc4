"""A process with opskit loaded that forks the Python programs of tests, for `tests/support/python_programs.py`.

A Python program that begins from nothing spends a quarter of a second of the processor on imports. A fork spends a
tenth of that, and is a process as any other: with its own pid, signals, session, streams, folder, arguments and
environment, and with the interpreter's own end. It is a child of the test process, which waits for it as for any.

What an interpreter decides while it starts cannot be decided again. A request that asks for it is refused, and the
test process starts the program itself. One thing is shared by all forks: the seed of the hash of a str.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import platform
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFUSED = 0

CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())  # the number of the system call
CLONE_PARENT = 0x8000

# Variables that the interpreter and its libraries read while they start begin so; PYTHONPATH can be followed later.
AT_START = (
    "PYTHON", "LC_", "LANG", "LOCPATH", "TZ", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "PSYCOPG_", "FAKETIME",
    "COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TTY_", "JUPYTER_",  # rich
)  # fmt: skip
# Modules of these names are run while the interpreter starts.
RUN_AT_START = ("sitecustomize", "usercustomize")


class Forks:
    """Forks a program for each request. When the test process is gone, so is this one, with all that it has forked.

    Args:
        requests: Brings for each program its three streams, a length and JSON of so many bytes; takes its pid.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._owner = os.pidfd_open(os.getppid())
        self._programs: set[int] = set()
        self._variables = at_start(os.environ)
        self._path = sys.path[1:]
        sys.path[0] = ROOT
        load()
        self._folders = folders_of_modules()

    def next_program(self) -> dict[str, Any] | None:
        """Serve, and come back in each fork with its request; here with None at the end."""
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        poll.register(self._owner, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            for program in ready & self._programs:
                poll.unregister(program)
                self._programs.remove(program)
                os.close(program)
            if self._owner in ready:
                break
            if self._requests.fileno() not in ready:
                continue
            request, streams = self._receive()
            if request is None:
                break
            pid = fork() if self._can_fork(request, streams) else REFUSED
            if pid is None:
                become(request, streams, self._path)
                return request
            if pid != REFUSED:
                # The number is still this program's: the test process, which has not been told it, cannot have waited.
                program = os.pidfd_open(pid)
                self._programs.add(program)
                poll.register(program, select.POLLIN)
            for stream in streams:
                os.close(stream)
            self._requests.sendall(struct.pack("i", pid))
        for program in self._programs:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(program, signal.SIGKILL)
        return None

    def _receive(self) -> tuple[dict[str, Any] | None, Sequence[int]]:
        head, streams, _, _ = socket.recv_fds(self._requests, 4, 3)
        if not head:
            return None, streams
        text = self._requests.recv(struct.unpack("i", head)[0], socket.MSG_WAITALL)
        return json.loads(text), streams

    def _can_fork(self, request: dict[str, Any], streams: Sequence[int]) -> bool:
        """Whether a fork is what a real start would be."""
        if CLONE is None or at_start(request["environ"]) != self._variables or any(map(os.isatty, streams)):
            return False
        first = first_folders(request)
        for folder in filter(os.path.isdir, first):
            names = {file.partition(".")[0] for file in os.listdir(folder)}
            if any(name in RUN_AT_START or self._folders.get(name, folder) != folder for name in names):
                return False
        return set(self._folders.values()) <= {*first, *self._path}


def load() -> None:
    """Import what a node and the verbs of the shell import."""
    verbs = importlib.import_module("opskit.cli.main").VERBS.values()
    for module in ("opskit.worker.command", *(f"opskit.cli.{verb.partition(':')[0]}" for verb in verbs)):
        importlib.import_module(module)


def folders_of_modules() -> dict[str, str]:
    """For each module and package that is loaded: the folder in which it was found."""
    found = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.has_location and "." not in name and name != "__main__":
            file = str(spec.origin)
            found[name] = os.path.dirname(os.path.dirname(file) if spec.submodule_search_locations else file)
    return found


def at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are read while a program starts."""
    return {name: value for name, value in environ.items() if name.startswith(AT_START) and name != "PYTHONPATH"}


def first_folders(request: dict[str, Any]) -> list[str]:
    """The folders that a start with -m puts before the interpreter's own."""
    given = request["environ"].get("PYTHONPATH")
    folders = given.split(os.pathsep) if given else []
    return [request["folder"], *(os.path.normpath(os.path.join(request["folder"], one)) for one in folders)]


def fork() -> int | None:
    """Fork a child of our parent's; its pid, and None in the child. What `os.fork` does makes a child of our own."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = ctypes.PyDLL(None).syscall(CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return None
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError("clone failed")
    return pid


def become(request: dict[str, Any], streams: Sequence[int], path: Sequence[str]) -> None:
    """Give a fork all that a program has at its start, and nothing of this server's."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if request["session"]:
        os.setsid()
    else:
        os.setpgid(0, request["group"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.orig_argv[:] = request["words"]
    sys.argv[:] = ["-m", *request["words"][3:]]
    first, *others = first_folders(request)
    sys.path[:] = [first, *dict.fromkeys([*others, *path])]
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        text = text_stream(number, mode, like=getattr(sys, name))
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.modules["opskit.queue.server_id"]._STARTED_MONOTONIC = time.monotonic()  # type: ignore[attr-defined]  # read at import
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    vars(main).update(__annotations__={}, __builtins__=builtins)
    sys.excepthook = without_server
    gc.enable()


def text_stream(number: int, mode: str, like: io.TextIOWrapper) -> io.TextIOWrapper:
    """A standard stream as the interpreter makes it."""
    buffering = 0 if like.write_through and mode == "w" else -1
    binary = open(number, f"{mode}b", buffering=buffering, closefd=False)  # noqa: SIM115  # as long as the program
    raw = getattr(binary, "raw", binary)
    raw.name = like.name
    text = io.TextIOWrapper(
        binary,
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )
    text.mode = mode  # type: ignore[misc]
    return text


def run(module: str) -> None:
    """Run a module as -m does, and end.

    A plain end comes at once: the interpreter would take apart, object by object, what the server has loaded, which
    costs more than all the rest. Any other end is the interpreter's own.
    """
    code = 0
    try:
        runpy._run_module_as_main(module)  # type: ignore[attr-defined]  # what -m calls
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls, as the next
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        sys.exit(code)  # the interpreter says what went wrong
    os._exit(code & 0xFF)


def without_server(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print an exception that nobody caught, without the two lines of this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


if __name__ == "__main__":
    gc.disable()  # nothing is garbage here, and what is moved is copied in each fork
    forks = Forks(socket.socket(fileno=int(sys.argv[1])))
    gc.freeze()
    program = forks.next_program()
    if program is not None:
        run(program["words"][2])
