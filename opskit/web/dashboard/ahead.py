"""What the first view needs, fetched while the server starts: whoever opens the page first need not wait for it."""

from __future__ import annotations

import contextlib
import importlib
import threading

from opskit import stats
from opskit.errors import OpskitError
from opskit.web.dashboard import readings

MODULES = (
    "pandas", "pyarrow", "plotly.graph_objects", "opskit.stats.figures", "opskit.stats.trends_figure",
    "opskit.web.dashboard.needs", "opskit.web.dashboard.trends",
)  # fmt: skip
"""What takes long to import, of all that the pages use."""


def fetch() -> threading.Thread:
    """Import and count behind the scenes; a database that is away is no reason not to start."""
    thread = threading.Thread(target=_fetch, name="ahead", daemon=True)
    thread.start()
    return thread


def _fetch() -> None:
    for name in MODULES:
        importlib.import_module(name)
    with contextlib.suppress(OpskitError):
        # What has ended is counted once for everybody, and takes longest.
        stats.concurrency(readings.database(), patience_seconds=0.0)
