"""The migration: adds opskit's columns, indexes and tables safely, and removes them again.

    steps         one statement, what it does and which lock it takes
    comparing     what is there held against what this version would make
    state         what is missing, by the part that mends it
    planning      which statements would be run now, and what they meet
    trial         what would go wrong, by trying it on a copy
    estimating    how long they will take
    applying      each waits a moment for its lock, steps back and tries again
    progress      how far a long one is
    cut_over      new rows are queued from now on
    laning        the column whose values take turns
    rolling_back  the way back

The statements are those of `sql/migrate/`, which psql runs too (sql/migrate.sql). What Python adds is
looking first (only what is missing is done), retries behind a short lock_timeout, and a plan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from opskit.database import Database
from opskit.migration.applying import Migrated, blocker, migrate
from opskit.migration.cut_over import cut_over_step, preview, queue_new
from opskit.migration.estimating import Estimate, estimate
from opskit.migration.laning import chosen_lanes, plan_lanes, set_lanes
from opskit.migration.planning import plan, survey
from opskit.migration.progress import StepProgress
from opskit.migration.rolling_back import plan_rollback, rollback
from opskit.migration.state import check, exists, missing, queues_new, wakes
from opskit.migration.steps import LOCK_SECONDS, Step
from opskit.settings import ENVIRONMENTS

__all__ = [
    "LOCK_SECONDS", "Estimate", "Migrated", "Step", "StepProgress", "blocker", "both", "check", "chosen_lanes",
    "cut_over_step", "estimate", "exists", "migrate", "missing", "plan", "plan_lanes", "plan_rollback", "preview",
    "queue_new", "queues_new", "rollback", "set_lanes", "survey", "wakes",
]  # fmt: skip


def both(db: Database) -> Iterator[Database]:
    """The database as each environment sees it, production first."""
    for env in ENVIRONMENTS:
        with Database(dataclasses.replace(db.settings, env=env), pooled=False) as one:
            yield one


def __dir__() -> list[str]:
    return __all__
