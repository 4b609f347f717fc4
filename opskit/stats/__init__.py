"""The statistics: what is going on, as DataFrames whose columns and dtypes never change.

Each function runs one file of `sql/`; an empty answer has the same columns and dtypes as a full one, so that nothing
downstream has to ask. Times are UTC whatever the application's column says, because sessions run in UTC. Missing
values are NA or NaT.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from opskit.errors import MissingExtraError
from opskit.stats.catalog import STATISTICS, Statistic
from opskit.stats.columns import (
    ACTS,
    CONCURRENCY,
    DISTRIBUTION,
    EVENTS,
    EVIDENCE,
    FAILURES,
    FILES,
    FORECAST,
    LANE_WORK,
    LANES,
    LOGS,
    LONGEST_RUNNING,
    MARKS,
    NODE_WORK,
    NODES,
    PAUSES,
    STALE,
    THROUGHPUT,
    TIMELINE,
    TRENDS,
)
from opskit.support.wording import iso

if TYPE_CHECKING:
    from opskit.stats.counts import concurrency, counted, counted_at, distribution, failures, server_counts
    from opskit.stats.current import evidence, lanes, longest_running, node_work, nodes, pauses, stale
    from opskit.stats.frame_display import Frame
    from opskit.stats.frames import records
    from opskit.stats.listings import acts, events, files, logs, place
    from opskit.stats.periods import forecast, throughput, timeline

    lane_work, marks, trends = STATISTICS["lane-work"], STATISTICS["marks"], STATISTICS["trends"]

__all__ = [
    "ACTS",
    "CONCURRENCY",
    "DISTRIBUTION",
    "EVENTS",
    "EVIDENCE",
    "FAILURES",
    "FILES",
    "FORECAST",
    "LANES",
    "LANE_WORK",
    "LOGS",
    "LONGEST_RUNNING",
    "MARKS",
    "NODES",
    "NODE_WORK",
    "PAUSES",
    "STALE",
    "STATISTICS",
    "THROUGHPUT",
    "TIMELINE",
    "TRENDS",
    "Frame",
    "Statistic",
    "acts",
    "concurrency",
    "counted",
    "counted_at",
    "distribution",
    "events",
    "evidence",
    "failures",
    "files",
    "forecast",
    "iso",
    "lanes",
    "logs",
    "longest_running",
    "node_work",
    "nodes",
    "pauses",
    "place",
    "records",
    "server_counts",
    "stale",
    "throughput",
    "timeline",
]
_MODULES = {
    "counts": ("concurrency", "counted", "counted_at", "distribution", "failures", "server_counts"),
    "current": ("evidence", "lanes", "longest_running", "node_work", "nodes", "pauses", "stale"),
    "frame_display": ("Frame",),
    "frames": ("records",),
    "listings": ("acts", "events", "files", "logs", "place"),
    "periods": ("forecast", "throughput", "timeline"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What needs pandas is imported on first use (PEP 562); a statistic without a function of its own is called."""
        if name in _HOMES:
            try:
                return getattr(importlib.import_module(f"opskit.stats.{_HOMES[name]}"), name)
            except ModuleNotFoundError as error:
                if error.name != "pandas":
                    raise
                raise MissingExtraError("pandas", "ui") from None
        if (statistic := STATISTICS.get(name.replace("_", "-"))) is not None:
            return statistic
        raise AttributeError(f"module 'opskit.stats' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
