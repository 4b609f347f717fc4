"""How much memory a node takes: its supervisor, its child, and the programs that this has started."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
MOST_PROCESSES = 64
"""So many processes of a node are added up: a processor that starts thousands must not delay its heartbeat."""


def in_use() -> int | None:
    """Memory of this process and all that it has started [bytes]; None where the system does not say.

    Each one's own pages, and the files that they share once. The system keeps these numbers ready: what it would have
    to count (PSS) takes a lock of the process, and one that hangs in the kernel would keep its node from beating.
    """
    own = shared = 0
    waiting = [os.getpid()]
    for _ in range(MOST_PROCESSES):
        if not waiting:
            break
        pid = waiting.pop()
        pages, of_files = _pages(pid)
        own += pages - of_files
        shared = max(shared, of_files)
        waiting += _children(pid)
    return (own + shared) * os.sysconf("SC_PAGE_SIZE") or None


def _pages(pid: int) -> tuple[int, int]:
    """How many pages a process holds, and how many of them are of files."""
    try:
        _, resident, of_files, *_ = (PROC / str(pid) / "statm").read_text().split()
        return int(resident), int(of_files)
    except (OSError, ValueError):
        return 0, 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except OSError:
        return []
