"""Cancelling: fails queued files and files in processing at once; no node retries them by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError
from opskit.queue import lanes
from opskit.queue.requeuing import clock
from opskit.support.wording import count

BATCH = 10_000
# A row that a claim or a completion has locked is free again within a statement's time.
_SHORT_LOCK_SECONDS = 0.5
_STATUSES = ("", "queued", "processing")


@dataclass(slots=True)
class Cancellation:
    """The result of a cancel.

    Attributes:
        ended: Files that failed now: id, original_filename, server_id, started_at, was, outcome, reason.
        asked: Files whose processor has locked the row: its node kills it, at the latest at its next heartbeat.
        kept: Files that could not be cancelled, with the reason.
        skipped: Files that were asked for and are neither queued nor in processing.
    """

    ended: list[Row] = field(default_factory=list)
    asked: list[Row] = field(default_factory=list)
    kept: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """What was done, in a sentence."""
        if not (self.ended or self.asked or self.kept):
            return "No file was cancelled: none is queued or in processing"
        parts = [f"Cancelled {count(len(self.ended), 'file')}"]
        if self.asked:
            ends = count(len(self.asked), "ends as soon as its node has", "end as soon as their nodes have")
            parts.append(f"{ends} killed the processor")
        if self.kept:
            parts.append(f"{len(self.kept)} could not be cancelled")
        return "; ".join(parts)


def cancel(
    db: Database,
    ids: Iterable[str] = (),
    *,
    claims: Iterable[str] = (),
    every: bool = False,
    status: str = "",
    server_id: str = "",
    search: str = "",
    lane: str = "",
    limit: int | None = None,
    actor: str = "",
    reason: str = "",
) -> Cancellation:
    """Cancel files: they fail at once, late writes under their tokens are refused, and nobody tries them again.

    A file that its processor has locked (inside `completing()`) is ended by its node, which kills the processor: within
    a second by a notification, behind a pooler at its next heartbeat. `requeue` with its id queues it again.

    Args:
        db: An open database.
        ids: These files.
        claims: With *ids*: only those that are claimed so still, as `preview` names claims. Defaults to all.
        every: Every file that *status*, *server_id*, *search* and *lane* let through, queued by now.
        status: Only queued, or only processing.
        server_id: Only files in processing on this server.
        search: Only files whose name contains this, in any case.
        lane: Only files of this lane; "(none)" for those without one.
        limit: Most files. Defaults to all, in batches: what is cancelled stays so if a later batch fails.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Raises:
        SettingError: Neither or both of files and *every* were given, *status* is none of these, or there are no lanes.

    SQL: sql/cancel.sql
    """
    db.writing()
    wanted = check(ids, every=every, status=status)
    done = Cancellation()
    left = math.inf if limit is None else limit
    filters = {
        "claims": list(claims), "status": status, "server_id": server_id, "search": search,
        "of_lane": lanes.of_lane(db, lane),
        "actor": actor or db.actor, "reason": reason,
    }  # fmt: skip
    for start in range(0, len(wanted), BATCH):
        if len(done.ended) < left:
            ids = wanted[start : start + int(min(left - len(done.ended), BATCH))]
            _batch(db, done, BATCH, which="ids", ids=ids, before="", **filters)
    before, more = clock(db) if every else "", every
    while more and len(done.ended) < left:
        rows = int(min(left - len(done.ended), BATCH))
        more = _batch(db, done, rows, which="live", ids=[], before=before, **filters)
    seen = {row["id"] for row in (*done.ended, *done.asked, *done.kept)}
    done.skipped = [id for id in wanted if id not in seen]
    return done


def check(ids: Iterable[str], *, every: bool, status: str = "") -> list[str]:
    """The files that are meant, each once, or none where every file is.

    Raises:
        SettingError: Neither or both were given, or *status* is none of queued and processing.
    """
    wanted = list(dict.fromkeys(str(id) for id in ids))
    if bool(wanted) == every:
        raise SettingError("say which files: give their ids, or say that every one is meant; not both")
    if status not in _STATUSES:
        raise SettingError(f"the state is {status!r}; only files that are queued or processing can be cancelled")
    return wanted


def preview_cancel(
    db: Database,
    ids: Iterable[str] = (),
    *,
    every: bool = False,
    status: str = "",
    server_id: str = "",
    search: str = "",
    lane: str = "",
    limit: int = BATCH,
) -> list[Row]:
    """What `cancel` would cancel, those in processing first; changes nothing.

    Args:
        db: An open database.
        ids: As for `cancel`.
        every: As for `cancel`.
        status: As for `cancel`.
        server_id: As for `cancel`.
        search: As for `cancel`.
        lane: As for `cancel`.
        limit: Most rows.

    Returns:
        id, original_filename, processing_status, processing_server_id, processing_queued_at, processing_started_at,
        processing_attempt.

    Raises:
        SettingError: Neither ids nor every are given, or both; or the status is none that can be cancelled.

    SQL: sql/cancellable.sql
    """
    wanted = check(ids, every=every, status=status)
    return db.run(
        "cancellable", which="live" if every else "ids", ids=wanted, status=status, server_id=server_id, search=search,
        of_lane=lanes.of_lane(db, lane), row_limit=limit,
    )  # fmt: skip


def end_cancelled(db: Database, *, id: str, token: str, actor: str) -> str:
    """End a claim whose cancellation was asked for: "failed", or "lost" when it is no longer this token's.

    SQL: sql/cancelled.sql
    """
    return str(db.one("cancelled", id=id, token=token, actor=actor)["answer"])


def _batch(db: Database, done: Cancellation, rows: int, **values: object) -> bool:
    """Cancel one batch, and wait for short locks; returns whether there may be more."""
    deadline, pause = time.monotonic() + _SHORT_LOCK_SECONDS, 0.02
    found = db.run("cancel", row_limit=rows, **values)
    before, is_full = len(done.ended), len(found) == rows
    left: dict[str, Row] = {}
    while True:
        done.ended += _ended_by_nodes(db, left, found)
        done.ended += [row for row in found if row["outcome"] == "failed"]
        left = {row["id"]: row for row in found if row["outcome"] != "failed"}
        locked = [id for id, row in left.items() if row["outcome"] != "kept"]
        if not locked or time.monotonic() >= deadline:
            break
        time.sleep(pause)
        pause = min(pause * 2, 0.2)
        kept = [row for row in left.values() if row["outcome"] == "kept"]
        found = kept + db.run("cancel", row_limit=rows, **(values | {"which": "ids", "ids": locked, "before": ""}))
    known = {row["id"] for row in (*done.asked, *done.kept)}
    for id, row in left.items():
        if id not in known:
            (done.asked if row["outcome"] == "asked" else done.kept).append(row)
    # What stays locked is found again by each batch.
    return is_full and len(done.ended) > before


def _ended_by_nodes(db: Database, before: dict[str, Row], found: list[Row]) -> list[Row]:
    """Of the files that were locked, those that their nodes have ended meanwhile; some may have completed instead."""
    gone = before.keys() - {row["id"] for row in found}
    now = (file for id in gone for file in db.run("file", id=id))
    failed = {file["id"] for file in now if file["processing_status"] == "failed"}
    return [row | {"outcome": "failed", "reason": None} for id, row in before.items() if id in failed]
