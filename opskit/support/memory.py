"""The memory of a process: how much it holds, and a limit."""

from __future__ import annotations

import contextlib
import os
import resource
import sys


def resident_bytes() -> int:
    """Memory that this process holds now [bytes]; its peak where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes(children: bool = False) -> int:
    """The most memory that this process, or the largest of its ended children, has held [bytes]."""
    if not children:
        # The kernel's own maximum survives fork and exec: a small program of a large parent would be as large as that.
        with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


def limit_memory(megabytes: int | None) -> None:
    """Let this process and those it starts take no more private memory than that; what would be more is a MemoryError.

    Private memory that may be written, not addresses: libraries reserve gigabytes of those and never use them.
    """
    if megabytes is not None:
        most = megabytes << 20
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # pyarrow's own begins with a gigabyte
