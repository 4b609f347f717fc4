"""The numbers for Prometheus: what is so now as gauges, what has happened as counters and histograms.

Labels come from fixed sets and every series is always there, so that an alert never waits for its first one.
The counters are this process's own: they begin at zero when it is first scraped, and only grow.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from opskit.database import Database
from opskit.database.session import Row
from opskit.queue.states import FileState, NodeState, Outcome

CONTENT_TYPE = CONTENT_TYPE_LATEST
BOUNDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Upper bounds of the histograms' buckets [s]."""
MOST_LANES = 50
"""Lanes that have a label of their own; the longest queues."""
OUTCOMES = (*Outcome, "other")
FOLLOWED = (FileState.QUEUED, FileState.FAILED)
_Cell = tuple[str, str, str, bool, int]
"""measure, outcome, next, cleaned, bucket."""


class Tally:
    """Counters of what has ended since the first reading; none ever falls.

    SQL: sql/counted.sql
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: datetime | None = None
        self._held_at_first = 0
        self._final: Counter[_Cell] = Counter()
        self._final_seconds: Counter[_Cell] = Counter()
        self.claims = 0
        self.attempts: Counter[_Cell] = Counter()
        self.seconds: Counter[_Cell] = Counter()

    def read(self, db: Database) -> Tally:
        """Add what has ended since the last reading.

        Raises:
            DatabaseUnavailableError: Nothing was added; the next reading makes up for it.
        """
        with self._lock:
            since = "" if self._since is None else self._since.isoformat()
            self._add(db.run("counted", since=since, bounds=[f"{bound:g}" for bound in BOUNDS]))
        return self

    def _add(self, rows: list[Row]) -> None:
        first = self._since is None
        self._since, held = rows[0]["settled"], rows[0]["held"]
        if first:
            self._held_at_first = held
        attempts, seconds = self._final.copy(), self._final_seconds.copy()
        for row in rows:
            if row["measure"] is None:  # the one row that is there when nothing has ended
                continue
            cell = (row["measure"], row["outcome"] or "other", row["next"] or "", row["cleaned"], row["bucket"])
            attempts[cell] += row["attempts"]
            seconds[cell] += row["seconds"]
            if row["final"]:
                self._final[cell] += row["attempts"]
                self._final_seconds[cell] += row["seconds"]
        # What is not final yet can fall: its file is requeued, deleted, or ended a second time by hand.
        self.attempts |= attempts
        self.seconds |= seconds
        ended = sum(number for cell, number in self.attempts.items() if cell[0] == "run")
        self.claims = max(self.claims, ended + held - self._held_at_first)

    def total(self, measure: str, **wanted: object) -> int:
        """How many attempts these are."""
        return sum(number for cell, number in self.attempts.items() if cell[0] == measure and _is(cell, wanted))

    def histogram(self, measure: str, **wanted: object) -> tuple[list[tuple[str, float]], float]:
        """Their durations: how many took at most each bound, and all of them together [s]."""
        buckets, below = [], 0
        for place, bound in enumerate((*map(str, BOUNDS), "+Inf")):
            below += self.total(measure, bucket=place, **wanted)
            buckets.append((bound, float(below)))
        together = sum(spent for cell, spent in self.seconds.items() if cell[0] == measure and _is(cell, wanted))
        return buckets, float(together)


def _is(cell: _Cell, wanted: Mapping[str, object]) -> bool:
    has = dict(zip(("outcome", "next", "cleaned", "bucket"), cell[1:], strict=True))
    has["outcome"] = has["outcome"] if has["outcome"] in OUTCOMES else "other"
    has["well"] = has["outcome"] == "completed"
    return all(has[name] == value for name, value in wanted.items())


def exposition(
    now: Mapping[str, Any],
    nodes: Iterable[Mapping[str, Any]],
    tally: Tally,
    environment: str,
    lanes: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    """Everything in Prometheus's text format.

    Args:
        now: The row of `stats.concurrency`.
        nodes: The rows of `stats.nodes`.
        tally: Read a moment ago.
        environment: A label of every series.
        lanes: The rows of `stats.lanes`, longest queue first; beyond the first `MOST_LANES` they are one, "(other)".
    """
    registry = CollectorRegistry()
    registry.register(
        _Collected([*_gauges(now, nodes, environment), *_of_lanes(lanes, environment), *_counters(tally, environment)])
    )
    return generate_latest(registry)


class _Collected(Collector):
    """Metrics that are known already, as the registry takes them."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauges(now: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]], environment: str) -> Iterator[Metric]:
    files = GaugeMetricFamily("opskit_files", "Files in each state.", labels=["environment", "state"])
    for state in FileState:
        files.add_metric([environment, state], _counted(now[state]))
    yield files
    known = Counter(str(node["state"]) for node in nodes)
    states = GaugeMetricFamily("opskit_nodes", "Nodes in each state.", labels=["environment", "state"])
    for node_state in NodeState:
        states.add_metric([environment, node_state], known[node_state])
    yield states
    for name, help, value in (
        ("oldest_queued_seconds", "Age of the oldest queued file; 0 when none is.", now["oldest_queued_seconds"] or 0),
        ("active_servers", "Nodes whose lease runs.", now["active_servers"]),
        (
            "claiming_nodes",
            "Nodes alive, not paused, draining or in quarantine.",
            now["claiming_nodes"],
        ),
        ("orphaned_files", "Claims of dead or rebooted nodes.", now["orphaned_files"]),
        ("stale_files", "Claims without progress for too long.", now["stale_files"]),
        ("waiting_files", "Rows without a status, not opskit's yet.", _counted(now["waiting_files"])),
        ("all_paused", "1 while claiming is paused for all nodes.", int(now["all_paused"])),
        ("breaker_open", "1 while an error of the world keeps every node from claiming.", int(bool(now["breaker"]))),
    ):
        gauge = GaugeMetricFamily(f"opskit_{name}", help, labels=["environment"])
        gauge.add_metric([environment], value)
        yield gauge


def _of_lanes(lanes: Sequence[Mapping[str, Any]], environment: str) -> Iterator[Metric]:
    if not lanes:
        return
    labels = ["environment", "lane"]
    queued = GaugeMetricFamily("opskit_lane_queued", "Files queued in each lane.", labels=labels)
    oldest = GaugeMetricFamily(
        "opskit_lane_oldest_queued_seconds",
        "Age of the oldest queued file of each lane.",
        labels=["environment", "lane"],
    )
    for row in lanes[:MOST_LANES]:
        name = "(none)" if row["lane"] is None else row["lane"]
        queued.add_metric([environment, name], row["queued"])
        oldest.add_metric([environment, name], row["oldest_queued_seconds"] or 0)
    if others := lanes[MOST_LANES:]:
        queued.add_metric([environment, "(other)"], sum(row["queued"] for row in others))
        oldest.add_metric([environment, "(other)"], max(row["oldest_queued_seconds"] or 0 for row in others))
    yield queued
    yield oldest


def _counted(number: int | None) -> float:
    # Where millions have ended, the first count of them takes a moment.
    return math.nan if number is None else number


def _counters(tally: Tally, environment: str) -> Iterator[Metric]:
    claims = CounterMetricFamily("opskit_claims", "Files claimed.", labels=["environment"])
    claims.add_metric([environment], tally.claims)
    yield claims
    completions = CounterMetricFamily("opskit_completions", "Files completed.", labels=["environment"])
    completions.add_metric([environment], tally.total("run", well=True))
    yield completions
    failures = CounterMetricFamily("opskit_failures", "Files that became failed.", labels=["environment"])
    failures.add_metric([environment], tally.total("run", next="failed"))
    yield failures
    attempts = CounterMetricFamily("opskit_attempts", "Attempts by how they ended.", labels=["environment", "outcome"])
    for outcome in OUTCOMES:
        attempts.add_metric([environment, outcome], tally.total("run", outcome=outcome))
    yield attempts
    cleanups = CounterMetricFamily(
        "opskit_cleanups", "Claims ended by a cleanup, by the state that followed.", labels=["environment", "followed"]
    )
    for state in FOLLOWED:
        cleanups.add_metric([environment, state], tally.total("run", cleaned=True, next=state))
    yield cleanups
    wait = HistogramMetricFamily(
        "opskit_wait_seconds", "From the queue to the claim, of files that have ended.", labels=["environment"]
    )
    wait.add_metric([environment], *tally.histogram("wait"))
    yield wait
    run = HistogramMetricFamily(
        "opskit_run_seconds", "From the claim to the end of the attempt.", labels=["environment", "ended"]
    )
    for ended, well in (("well", True), ("badly", False)):
        run.add_metric([environment, ended], *tally.histogram("run", well=well))
    yield run
