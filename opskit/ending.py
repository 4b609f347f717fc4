"""How a child ended, and how the attempt that it left behind is to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

from opskit.error_identity import Identity, of_reason

_HINTS = {
    signal.SIGKILL: ", perhaps out of memory",
    signal.SIGSEGV: ": a memory error in the processor or a library of its",
    signal.SIGABRT: ": a library of the processor's gave up",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a claim that its child left behind is to be ended: crashed, timeout, interrupted or released, and why.

    Attributes:
        outcome: crashed, timeout, interrupted or released.
        reason: Why, as it is stored.
        error: The same without what differs from node to node: what failures are grouped by. Defaults to *reason*.
    """

    outcome: str
    reason: str
    error: str = ""

    @property
    def identity(self) -> Identity:
        """What the failure is grouped by."""
        return of_reason(self.error or self.reason)


def end_of(child: subprocess.Popen[bytes]) -> int | None:
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
    """What an exit code tells: the reason that is stored with the attempt."""
    if code >= 0:
        return f"the child ended by itself with exit code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"the child was killed by signal {-code}"
    return f"the child was killed by signal {-code} ({number.name}){_HINTS.get(number, '')}"
