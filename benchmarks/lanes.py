"""What lanes cost: files a second of one node's claim loop without lanes, and with a thousand of them among a million.

python benchmarks/lanes.py [--queued 1000000], or `python benchmarks/all.py --subjects lanes`, which keeps the figures.
Three minutes. Each round drains as many files without lanes as with them, so that both see the same machine; what
counts is the median of the ratios.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
import uuid
from pathlib import Path

from bench import Finding, Size, alone, another, ask, opened, settle

from opskit import migration
from opskit.database import Database
from opskit.queue import lanes, nodes
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus

LANES = 1_000


def drain(db: Database, files: int, *, in_turn: bool) -> tuple[float, float]:
    """Files a second of one claim loop in this process, and the processor's time a file of it and its backend [µs]."""
    settings = dataclasses.replace(db.settings, lease_seconds=600.0)
    with (
        Database(settings, pooled=False, node=True) as own,
        contextlib.closing(SharedStatus()) as shared_status,
    ):
        node = nodes.register(own, f"bench-{uuid.uuid4().hex[:8]}", str(uuid.uuid4()))
        assert node is not None
        child = Child(own, shared_status, node, lambda file: None)
        if not in_turn:
            claimer = child._claimer
            claimer.learn_lanes = lambda: setattr(claimer, "_column_at", float("inf"))  # type: ignore[method-assign]
        child.run(max_files=files // 10)
        busy, begun = cpu_seconds(own), time.monotonic()
        child.run(max_files=files)
        return files / (time.monotonic() - begun), (cpu_seconds(own) - busy) / files * 1e6


def cpu_seconds(db: Database) -> float:
    """What this process and its backend have used of the processor."""
    assert db.own is not None
    backend = Path(f"/proc/{db.own.info.backend_pid}/schedstat").read_text().split()[0]
    return time.process_time() + int(backend) / 1e9


def measure(db: Database, size: Size) -> Finding:
    """The rates without lanes and with them, on a database of their own: lanes stay switched on."""
    finding = Finding()
    files = max(500, size.files * 3 // 10)
    with opened(another(db, "bench_lanes")) as own:
        fill(own, size.queued)
        looks: list[float] = []
        plain: list[tuple[float, float]] = []
        turns: list[tuple[float, float]] = []
        for number in range(size.rounds):
            mine = lanes.Lanes(own, lanes.Route(None, frozenset()))
            begun = time.monotonic()
            mine.look()
            looks.append((time.monotonic() - begun) * 1000)
            for in_turn in (False, True) if number % 2 else (True, False):
                (turns if in_turn else plain).append(drain(own, files, in_turn=in_turn))
    ratio = statistics.median(turn[0] / one[0] for turn, one in zip(turns, plain, strict=True))
    rates = " : ".join(f"{statistics.median(rate for rate, _ in cases):,.0f}" for cases in (turns, plain))
    what = f"{LANES:,} lanes among {size.queued:,} queued"
    finding.goal(what, "≥ 0.9 × without lanes", f"{rates} files/s", ratio >= 0.9, ratio)
    look = statistics.median(looks)
    finding.goal(f"{what}: a look at all", "< 100 ms", f"{look:.0f} ms", look < 100, look / 100)
    for n, (one, turn, ms) in enumerate(zip(plain, turns, looks, strict=True), 1):
        finding.table.append(
            {
                "round": n, "without [files/s]": round(one[0]), "with lanes [files/s]": round(turn[0]),
                "without [µs CPU]": round(one[1]), "with lanes [µs CPU]": round(turn[1]), "look [ms]": round(ms, 1),
            }
        )  # fmt: skip
    return finding


def fill(db: Database, rows: int) -> None:
    """Queue so many files, in a thousand lanes."""
    table = db.settings.files
    ask(db, f"ALTER TABLE {table} ADD COLUMN customer_id integer")
    ask(
        db,
        f"INSERT INTO {table} (original_filename, processing_status, customer_id, processing_queued_at) "
        f"SELECT 'file-' || n, 'queued', n % {LANES}, now() - ({rows} - n) * interval '1 millisecond' "
        f"FROM generate_series(1, {rows}) AS n",
    )
    migration.set_lanes(db, "customer_id", actor="benchmark")
    ask(db, f"VACUUM ANALYZE {table}")
    lanes.column(db)
    settle(db)


if __name__ == "__main__":
    alone("lanes", measure, __doc__)
