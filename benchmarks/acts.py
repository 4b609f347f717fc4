"""What the benchmarks' nodes do with a file: nothing, or note the moment. Light: it is part of what is weighed."""

from __future__ import annotations

import array
import atexit
import os
import time
from typing import Any

_stamps = array.array("d")
_left = 0.0


def nothing(file: Any) -> None:
    """Do nothing."""


def stamp(file: Any) -> None:
    """Note how long the node took from one file to the next [s]: complete, claim, and all that is around them."""
    global _left
    if not _stamps:
        atexit.register(_write)
        _stamps.append(0.0)
    else:
        _stamps.append(time.perf_counter() - _left)
    _left = time.perf_counter()


def arrived(file: Any) -> None:
    """Note how long ago the file was inserted: its name says when [ns]."""
    now = time.time_ns()
    with open(os.environ["BENCH_STAMPS"], "a") as target:
        target.write(f"{(now - int(file.original_filename)) / 1e9}\n")


def _write() -> None:
    with open(f"{os.environ['BENCH_STAMPS']}.{os.getpid()}", "w") as target:
        target.writelines(f"{seconds}\n" for seconds in _stamps[1:])
