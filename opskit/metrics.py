"""The numbers of the moment in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(now: Mapping[str, Any], environment: str) -> bytes:
    """The row of `stats.concurrency` as metrics; every series is always there, with labels from fixed sets."""
    registry = CollectorRegistry()
    files = Gauge("opskit_files", "Files in each state.", ["environment", "state"], registry=registry)
    for state in ("queued", "processing", "completed", "failed"):
        files.labels(environment, state).set(now[state])
    for name, help, value in (
        ("oldest_queued_seconds", "Age of the oldest queued file; 0 when none is.", now["oldest_queued_seconds"] or 0),
        ("active_servers", "Nodes whose lease runs.", now["active_servers"]),
        ("orphaned_files", "Claims of dead or rebooted nodes.", now["orphaned_files"]),
        ("stale_files", "Claims without progress for too long.", now["stale_files"]),
        ("waiting_files", "Rows without a status, not opskit's yet.", now["waiting_files"]),
        ("all_paused", "1 while claiming is paused for all nodes.", int(now["all_paused"])),
    ):
        Gauge(f"opskit_{name}", help, ["environment"], registry=registry).labels(environment).set(value)
    return generate_latest(registry)
