"""Python programs that tests start: forks of one process that has opskit loaded, or real starts."""

from __future__ import annotations

import atexit
import inspect
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

SERVER = Path(__file__).with_name("fork_server.py")
# As the tests began: what one of them has changed is not for the others.
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
REAL_STARTS = bool(os.environ.get("TESTS_REAL_STARTS"))
"""Whether every program of the tests is to be a real start."""

PARAMETERS = list(inspect.signature(subprocess.Popen._execute_child).parameters)[1:]  # type: ignore[attr-defined]
PLAIN = {
    "executable": None, "preexec_fn": None, "close_fds": True, "pass_fds": (), "startupinfo": None, "creationflags": 0,
    "shell": False, "restore_signals": True, "gid": None, "gids": None, "uid": None, "umask": -1, "process_group": -1,
}  # fmt: skip
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


class Forking:
    """The fork server of this process, started when the first program is.

    Attributes:
        wanted: Whether programs are forked, for the test that runs.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._requests: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """The pid of a new program; 0 when it has to be a real start."""
        text = json.dumps(request).encode()
        with self._lock:
            if self._requests is None:
                self._start()
            if self._owner != os.getpid():
                return 0  # a fork of the tests, whose child it would not be
            assert self._requests is not None
            socket.send_fds(self._requests, [struct.pack("i", len(text))], streams)
            self._requests.sendall(text)
            return int(struct.unpack("i", self._requests.recv(4, socket.MSG_WAITALL))[0])

    def _start(self) -> None:
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno())],
                env=ENVIRON,
                cwd=SERVER.parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # a person's Ctrl-C is for the tests
            )
        self._owner = os.getpid()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the server, and with it all programs that still run."""
        if self._owner == os.getpid() and self._requests is not None and self._server is not None:
            self._requests.close()
            self._server.wait()
            self._requests = None


forking = Forking()


class Program(subprocess.Popen[Any]):
    """A process as `subprocess.Popen` starts it; `python -m MODULE` is forked where that comes to the same.

    Attributes:
        forked: Whether it has been.
    """

    forked = False

    def _execute_child(self, *given: Any) -> None:
        asked = dict(zip(PARAMETERS, given, strict=True))
        pid = self._forked(asked)
        if pid:
            self.pid, self._child_created, self.forked = pid, True, True
            self._close_pipe_fds(*(asked[pipe] for pipe in PIPES))  # type: ignore[attr-defined]
        else:
            super()._execute_child(*given)  # type: ignore[misc]

    def _forked(self, asked: dict[str, Any]) -> int:
        words = asked["args"]
        if REAL_STARTS or not forking.wanted or isinstance(words, (str, bytes, os.PathLike)):
            return 0
        words = [os.fspath(word) for word in words]
        if words[:2] != [sys.executable, "-m"] or len(words) < 3 or {**asked, **PLAIN} != asked:
            return 0
        request = {
            "words": words,
            "environ": dict(os.environ if asked["env"] is None else asked["env"]),
            "folder": os.path.realpath(asked["cwd"] or "."),
            "session": asked["start_new_session"],
            "group": os.getpgid(0),
        }
        streams = [asked["p2cread"], asked["c2pwrite"], asked["errwrite"]]
        return forking.fork(request, [number if stream == -1 else stream for number, stream in enumerate(streams)])


def run(
    words: list[str],
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **given: Any,
) -> CompletedProcess[Any]:
    """`subprocess.run`, by a Program."""
    if capture_output:
        given |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        given["stdin"] = subprocess.PIPE
    with Program(words, **given) as program:
        try:
            out, err = program.communicate(input, timeout)
        except BaseException:
            program.kill()
            raise
    done = CompletedProcess(words, program.returncode, out, err)
    if check:
        done.check_returncode()
    return done
