"""The progress of a long statement, read over a second connection while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from opskit.database import Database
from opskit.errors import OpskitError
from opskit.migration.steps import Step
from opskit.support.progress import OnProgress, Progress

EVERY_SECONDS = 0.25
"""How often is looked [s]."""
# Where in the whole each phase of CREATE INDEX CONCURRENTLY begins and ends; reading the table twice is most of it.
_PHASES = (
    ("waiting for writers before build", 0.0, 0.0),
    ("building index: scanning table", 0.0, 0.4),
    ("building index: sorting", 0.4, 0.45),
    ("building index: loading", 0.45, 0.5),
    ("building index", 0.0, 0.5),
    ("waiting for writers before validation", 0.5, 0.5),
    ("index validation: scanning index", 0.5, 0.6),
    ("index validation: sorting", 0.6, 0.6),
    ("index validation: scanning table", 0.6, 1.0),
    ("waiting for", 1.0, 1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress(Progress):
    """How far a step of the migration is.

    Attributes:
        step: The step.
        phase: What it is doing, in PostgreSQL's words; empty where PostgreSQL tells nothing.
        seconds: How long it has been running [s].
        waits_for: Whoever it waits for, in words; empty when it does not wait.
    """

    step: Step
    phase: str
    seconds: float
    waits_for: str = ""


@contextlib.contextmanager
def watched(db: Database, step: Step, on_progress: OnProgress | None) -> Iterator[None]:
    """Report the progress of a step while it runs, if it is one that reads a table.

    It is asked for over a second connection (pg_stat_progress_create_index).
    """
    if on_progress is None or not step.reads:
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(db, step, on_progress, ended), name="opskit progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(db: Database, step: Step, on_progress: OnProgress, ended: threading.Event) -> None:
    began = time.monotonic()
    with Database(db.settings, pooled=False, statement_seconds=2.0, name="progress") as other:
        while not ended.wait(EVERY_SECONDS):
            found = []
            # Whatever keeps us from looking, a connection too many or a short cut, must not disturb the work.
            with contextlib.suppress(OpskitError):
                found = other.run("migrate/progress") if not step.transactional else []
            seconds = time.monotonic() - began
            if found and not ended.is_set():
                row = found[0]
                on_progress(_progress(step, seconds, row["phase"], row["share"], row["waits_for"] or ""))
            elif not ended.is_set():
                on_progress(_progress(step, seconds))


def _progress(
    step: Step, seconds: float, phase: str = "", share: float | None = None, waits_for: str = ""
) -> StepProgress:
    text = f"{phase or step.what}: {waits_for}" if waits_for else phase or step.what
    whole = _whole(phase, share)
    return StepProgress(text=text, share=whole, step=step, phase=phase, seconds=seconds, waits_for=waits_for)


def _whole(phase: str, share: float | None) -> float | None:
    """How much of the whole is done when so much of a phase is."""
    for name, begin, end in _PHASES:
        if phase.startswith(name):
            return begin + (end - begin) * min(share or 0.0, 1.0)
    return None
