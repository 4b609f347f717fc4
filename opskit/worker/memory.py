"""How much memory a node takes: its supervisor, its child, and the programs that this has started."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
MOST_PROCESSES = 64
"""So many processes of a node are added up: a processor that starts thousands must not delay its heartbeat."""


def in_use() -> int | None:
    """Memory of this process and all that it has started [bytes]; None where the system does not say.

    What processes share counts once (PSS), or as often as they are where the system tells only the resident size.
    """
    found, waiting = 0, [os.getpid()]
    for _ in range(MOST_PROCESSES):
        if not waiting:
            break
        pid = waiting.pop()
        found += _proportional(pid) or _resident(pid)
        waiting += _children(pid)
    return found or None


def _proportional(pid: int) -> int:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_bytes()
    except OSError:
        return 0
    _, _, rest = text.partition(b"\nPss:")
    return int(rest.split(None, 1)[0]) * 1024 if rest else 0


def _resident(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except OSError:
        return []
