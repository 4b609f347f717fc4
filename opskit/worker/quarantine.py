"""Quarantine on a node: the child rests between failed attempts, the supervisor judges the node and ends quarantine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.quarantine import judge, log
from opskit.queue.server_id import Boot
from opskit.support.wording import count
from opskit.worker.status import SharedStatus, Snapshot

LONGEST_REST = 8.0
"""Longest rest between two claims of a node whose attempts end badly in a row [s]."""


class Rest:
    """When a child rests before its next claim: after *quarantine_after* bad attempts in a row 1, 2, 4, at most 8 s.

    A node that fails in milliseconds would otherwise take thousands of files before it can be judged.

    Args:
        db: The child's database.
        node: Whose child it is.
        shared_status: Where its attempts in a row are counted; they outlive a child that dies each time.
    """

    def __init__(self, db: Database, node: Boot, shared_status: SharedStatus) -> None:
        self._db = db
        self._node = node
        self._shared_status = shared_status
        self._rested = 0

    def take(self, pause: Callable[[float], None], stopping: Callable[[], bool]) -> None:
        """Rest, if that is due; once after each bad attempt.

        Args:
            pause: Waits so many seconds [s], or until a signal comes.
            stopping: Whether the child is told to stop: then the rest is over.
        """
        snapshot, after = self._shared_status.read(), self._db.settings.quarantine_after
        if not after or snapshot.streak < after or snapshot.streak == self._rested:
            return
        self._rested = snapshot.streak
        forgiven, shared = self._asked(time.monotonic() - snapshot.streak_began)
        if forgiven:
            self._shared_status.forgive()
            return
        if shared:
            return
        seconds = min(LONGEST_REST, 2.0 ** min(snapshot.streak - after, 10))
        attempts = count(snapshot.streak, "attempt in a row", "attempts in a row")
        log.warning("%s ended badly; resting %g s before the next claim", attempts, seconds)
        over = time.monotonic() + seconds
        while not stopping() and (left := over - time.monotonic()) > 0:
            pause(left)

    def _asked(self, streak_seconds: float) -> tuple[bool, bool]:
        """The columns of sql/rest.sql: forgiven and shared; both false while the database is away."""
        try:
            rows = self._db.run(
                "rest", server_id=self._node.server_id, boot=self._node.boot, streak_seconds=streak_seconds
            )
        except (DatabaseUnavailableError, DatabaseError):
            self._db.drop_connection()
            return False, False
        return (rows[0]["forgiven"], rows[0]["shared"]) if rows else (False, False)


class Watch:
    """The supervisor's part of quarantine, once a heartbeat.

    Args:
        db: The supervisor's database.
        node: The node, as it is registered.
        completed: How many files it had completed when it registered.
    """

    def __init__(self, db: Database, node: Boot, completed: int) -> None:
        self._db = db
        self._node = node
        self._completed = completed
        self._quarantined = False

    def beat(self, state: str, snapshot: Snapshot) -> None:
        """Judge the node while its attempts end badly in a row; end its quarantine when it has completed a file.

        Args:
            state: What the heartbeat answered: active, draining or quarantined.
            snapshot: What the child says.

        Raises:
            DatabaseUnavailableError: No answer; asked again at the next heartbeat.
        """
        try:
            self._beat(state, snapshot)
        except DatabaseError as error:
            # The heartbeat itself went well: a node that cannot be judged works on.
            log.warning("the node cannot be judged: %s", error)

    def _beat(self, state: str, snapshot: Snapshot) -> None:
        if state == "quarantined":
            if snapshot.completed > self._completed and self._recover():
                self._completed = snapshot.completed
            elif not self._quarantined:
                self._quarantined = True
                log.error("in quarantine: one file is tried now and then; a completion ends it, or opskit resume")
            return
        if self._quarantined:
            self._quarantined = False
            log.info("out of quarantine")
        self._completed = snapshot.completed
        if state == "active" and (reason := judge(self._db, self._node, snapshot.streak)):
            self._quarantined = True
            log.error("in quarantine: %s", reason)

    def _recover(self) -> bool:
        recovered = bool(self._db.run("recover", server_id=self._node.server_id, boot=self._node.boot))
        if recovered:
            self._quarantined = False
            log.info("out of quarantine: it completed a file")
        return recovered


def probed(db: Database, node: Boot) -> None:
    """A node in quarantine has claimed its probe: the next is due after a pause twice as long.

    A database that is away changes nothing: the next claim would be a probe, too.

    SQL: sql/probe.sql
    """
    log.info("in quarantine: trying one file")
    with contextlib.suppress(DatabaseUnavailableError, DatabaseError):
        db.run("probe", server_id=node.server_id, boot=node.boot)
