"""What lanes cost: files a second of one node's claim loop without lanes, and with a thousand of them among a million.

python benchmarks/lanes.py [--rows 1000000] [--lanes 1000] [--files 3000] [--rounds 5]

Each round drains --files without lanes and --files with them, so that both see the same machine; what counts is the
median of the ratios. Writes benchmarks/results/lanes.json, with what a look at all lanes takes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import statistics
import time
import uuid
from typing import Any

from bench import RESULTS, ask, database

from opskit import migration
from opskit.database import Database
from opskit.queue import lanes, nodes
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus


def drain(db: Database, files: int, *, in_turn: bool) -> float:
    """Files a second of one claim loop in this process; its processor does nothing."""
    settings = dataclasses.replace(db.settings, lease_seconds=600.0)
    with (
        Database(settings, pooled=False, node=True) as own,
        contextlib.closing(SharedStatus()) as shared_status,
    ):
        node = nodes.register(own, f"bench-{uuid.uuid4().hex[:8]}", str(uuid.uuid4()))
        assert node is not None
        child = Child(own, shared_status, node, lambda file: None)
        if not in_turn:
            child._learn_lanes = lambda: setattr(child, "_column_at", float("inf"))  # type: ignore[method-assign]
        child.run(max_files=files // 10)
        begun = time.monotonic()
        child.run(max_files=files)
        return files / (time.monotonic() - begun)


def measure(db: Database, rows: int, count: int, files: int, rounds: int) -> dict[str, Any]:
    """The figures."""
    table = db.settings.files
    ask(db, f"ALTER TABLE {table} ADD COLUMN customer_id integer")
    ask(
        db,
        f"INSERT INTO {table} (original_filename, processing_status, customer_id, processing_queued_at) "
        f"SELECT 'file-' || n, 'queued', n % {count}, now() - ({rows} - n) * interval '1 millisecond' "
        f"FROM generate_series(1, {rows}) AS n",
    )
    migration.set_lanes(db, "customer_id", actor="benchmark")
    ask(db, f"VACUUM ANALYZE {table}")
    lanes.column(db)
    looks = []
    for _ in range(rounds):
        mine = lanes.Lanes(db, lanes.Route(None, frozenset()))
        begun = time.monotonic()
        mine.look()
        looks.append(time.monotonic() - begun)
    plain: list[float] = []
    turns: list[float] = []
    for number in range(rounds):
        for in_turn in (False, True) if number % 2 else (True, False):
            (turns if in_turn else plain).append(drain(db, files, in_turn=in_turn))
    ratios = [turn / one for turn, one in zip(turns, plain, strict=True)]
    return {
        "rows": rows,
        "lanes": count,
        "files a second without lanes": round(statistics.median(plain)),
        "files a second with lanes": round(statistics.median(turns)),
        "ratio": round(statistics.median(ratios), 3),
        "look at all lanes [ms]": round(statistics.median(looks) * 1000, 1),
    }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--lanes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with database() as db:
        found = measure(db, given.rows, given.lanes, given.files, given.rounds)
    print(json.dumps(found, indent=1))
    if (given.rows, given.lanes) == (1_000_000, 1000):
        (RESULTS / "lanes.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
