"""Estimates how long the steps of a plan will take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from opskit.database import Database
from opskit.migration.state import exists
from opskit.migration.steps import Step

SAMPLE_PAGES = 512
"""Pages of each of the three stretches that are read to learn how fast the table can be read: 4 MB."""
SCAN_FACTOR = 2.0
"""An index looks into each row, and the application works beside it: so much slower than counting."""
ROW_SECONDS = 1.5e-6
"""What one row that goes into an index costs: sorting, writing, validating [s]; measured by test_migration_load.py."""
LEAST_SECONDS = 0.05
"""What a statement costs whatever the size: its locks, its commit, the transactions it waits for [s]."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a plan will take where nobody is in the way.

    Attributes:
        seconds: For each step, in the plan's order [s].
        how: How that was estimated, in a sentence.
    """

    seconds: tuple[float, ...]
    how: str

    @property
    def total_seconds(self) -> float:
        """The whole plan [s]."""
        return sum(self.seconds)


def estimate(db: Database, planned: Sequence[Step]) -> Estimate:
    """Estimate a plan: three stretches of the table are read now, and the rest is taken to be as fast.

    Reads at most 12 MB.

    Args:
        db: An open database.
        planned: The steps, as `plan` returns them.

    SQL: sql/migrate/sample.sql
    """
    if not exists(db, "files"):
        return Estimate(tuple(LEAST_SECONDS for _ in planned), "estimated for a table that is not there yet")
    began = time.perf_counter()
    found = db.one("migrate/sample", pages=SAMPLE_PAGES)
    took = time.perf_counter() - began
    size, rows, sampled = int(found["bytes"]), int(found["rows"]), int(found["sampled"])
    once = SCAN_FACTOR * took * size / sampled if sampled else 0.0
    sorting = rows * float(found["share"]) * ROW_SECONDS
    seconds = []
    for step in planned:
        # Our own tables are small beside the application's.
        reads = step.reads if step.table == db.settings.files else 0
        more = sorting if reads and step.part == "indexes" else 0.0
        seconds.append(LEAST_SECONDS + reads * once + more)
    if not sampled:
        return Estimate(tuple(seconds), "the table is small: no statement takes long")
    how = (
        f"estimated from {sampled / 2**20:,.1f} MB of {size / 2**20:,.1f}, just now read at "
        f"{sampled / took / 2**20:,.0f} MB/s: an index reads the table twice and sorts the rows with a status, "
        "nothing rewrites it; waiting for others comes on top"
    )
    return Estimate(tuple(seconds), how)
