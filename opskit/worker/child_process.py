"""The child as a process: how it is started and ended, and why it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from opskit.files.workspace import Workspace
from opskit.queue.error_identity import Identity, of_reason
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from opskit.worker.status import SharedStatus

_HINTS = {
    signal.SIGKILL: ", perhaps out of memory",
    signal.SIGSEGV: ": a memory error in the processor or a library of its",
    signal.SIGABRT: ": a library of the processor's gave up",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a claim that its child left behind is to be ended: crashed, timeout, interrupted, cancelled or released.

    Attributes:
        outcome: crashed, timeout, interrupted, cancelled or released.
        reason: Why, as it is stored.
        error: The same without what differs from node to node: what failures are grouped by. Defaults to *reason*.
        token: The one claim that is meant. Defaults to whatever the child held.
    """

    outcome: str
    reason: str
    error: str = ""
    token: str = ""

    @property
    def identity(self) -> Identity:
        """The identity by which the failure is grouped."""
        return of_reason(self.error or self.reason)


def exit_code(child: subprocess.Popen[bytes]) -> int | None:
    """The exit code of a child that has ended, and the end of what its processor has started; None while it lives.

    A process that it forked lives on with its socket: the server would not learn of the child's death, and would go on
    holding the lock of its file. The group is killed before the child is reaped, while its number is still its own.
    """
    if child.returncode is None:
        if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def cause_of_death(code: int) -> str:
    """The reason, from an exit code, that is stored with the attempt."""
    if code >= 0:
        return f"the child ended by itself with exit code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"the child was killed by signal {-code}"
    return f"the child was killed by signal {-code} ({number.name}){_HINTS.get(number, '')}"


class ChildProcess:
    """A child that runs: `python -m opskit.worker.child`, in a process group of its own.

    Args:
        node: Whose child it is.
        settings: What it shall do.
        shared_status: Where it reports; the child inherits it.
        drain: It ends when the queue is empty.
        max_files: It ends after so many files. Defaults to no limit.
        only: It processes this one file.
        workspace: Where its programs work; None when it runs none.
        output: Descriptor that its stdout and stderr lead to. Defaults to our own stderr.

    Attributes:
        started: When it was started [s, monotonic].
    """

    def __init__(
        self,
        node: Boot,
        settings: Settings,
        shared_status: SharedStatus,
        *,
        drain: bool,
        max_files: int | None,
        only: str | None,
        workspace: Workspace | None = None,
        output: int | None = None,
    ) -> None:
        self._shared_status, self._workspace = shared_status, workspace
        command = [
            sys.executable, "-P", "-m", "opskit.worker.child",
            "--parent", str(os.getpid()), "--shared-status", str(shared_status.fd),
            "--server-id", node.server_id, "--boot", node.boot, "--epoch", str(node.epoch),
        ]  # fmt: skip
        if drain:
            command.append("--drain")
        if max_files is not None:
            command += ["--max-files", str(max_files)]
        if only is not None:
            command += ["--only", only]
        if workspace is not None:
            command += ["--workspace", str(workspace.path)]
        stderr = sys.stderr.fileno() if _has_fd(sys.stderr) else None
        inherited = [shared_status.fd]
        if output is not None and stderr is not None:
            # Its own log goes where ours does, under a number that a processor does not know.
            log_fd = os.dup(stderr)
            command += ["--log-fd", str(log_fd)]
            inherited.append(log_fd)
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr if len(inherited) == 1 else output,
            stderr=None if len(inherited) == 1 else output,
            env={**os.environ, **settings.environ(), "NODE_ID": node.server_id},
            pass_fds=inherited,
            # A group of its own: a terminal's Ctrl-C is ours to handle, and what the processor started dies with it.
            process_group=0,
        )
        for fd in inherited[1:]:
            os.close(fd)

    def exit_code(self) -> int | None:
        """Its exit code once it has ended, and its programs with it; None while it lives."""
        code = exit_code(self._process)
        if code is not None:
            self._end_programs()
        return code

    def terminate(self) -> None:
        """Ask it to stop after its file."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kill it and what it started, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._end_programs()

    def _end_programs(self) -> None:
        """Kill the program that the child has left, and what that has started; empty the folder."""
        if self._workspace is None:
            return
        if group := self._shared_status.read().group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self._workspace.sweep()


def _has_fd(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, AttributeError, ValueError):
        return False
    return True
