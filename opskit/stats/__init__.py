"""The statistics: what is going on, as DataFrames whose columns and dtypes never change.

Each function runs one file of `sql/`; an empty answer has the same columns and dtypes as a full one, so that nothing
downstream has to ask. Times are UTC whatever the application's column says, because sessions run in UTC. Missing
values are NA or NaT.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from opskit.stats.columns import (
    CONCURRENCY,
    DISTRIBUTION,
    EVENTS,
    EVIDENCE,
    FAILURES,
    FILES,
    FORECAST,
    LANES,
    LOGS,
    LONGEST_RUNNING,
    NODE_WORK,
    NODES,
    PAUSES,
    STALE,
    THROUGHPUT,
    TIMELINE,
)
from opskit.stats.counts import concurrency, counted, counted_at, distribution, failures, server_counts
from opskit.stats.current import evidence, lanes, longest_running, node_work, nodes, pauses, stale
from opskit.stats.frames import records
from opskit.stats.listings import events, files, logs, place
from opskit.stats.periods import forecast, throughput, timeline
from opskit.support.wording import iso

__all__ = [
    "CONCURRENCY",
    "DISTRIBUTION",
    "EVENTS",
    "EVIDENCE",
    "FAILURES",
    "FILES",
    "FORECAST",
    "LANES",
    "LOGS",
    "LONGEST_RUNNING",
    "NODES",
    "NODE_WORK",
    "PAUSES",
    "STALE",
    "STATISTICS",
    "THROUGHPUT",
    "TIMELINE",
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
STATISTICS: dict[str, Callable[..., pd.DataFrame]] = {
    "concurrency": concurrency,
    "distribution": distribution,
    "longest-running": longest_running,
    "lanes": lanes,
    "stale": stale,
    "nodes": nodes,
    "node-work": node_work,
    "forecast": forecast,
    "throughput": throughput,
    "failures": failures,
    "files": files,
    "events": events,
    "pauses": pauses,
    "timeline": timeline,
}
"""The statistics by the name that shell and HTTP give them."""


def __dir__() -> list[str]:
    return __all__
