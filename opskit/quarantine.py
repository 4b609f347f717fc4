"""A node that fares badly: it rests, it is judged by what other nodes completed, and it comes back by itself.

The child rests between claims while its attempts end badly in a row. The supervisor judges at its heartbeats, as long
as that lasts, and ends the quarantine when a probe has gone well. The rules are in the SQL files.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.mailbox import Letter, Mailbox
from opskit.server_id import Boot

log = logging.getLogger("opskit")

LONGEST_REST = 8.0
"""Longest rest between two claims of a node whose attempts end badly in a row [s]."""

_MOST_EVIDENCE = 100
_LOCK_NOT_AVAILABLE = "55P03"


class Rest:
    """When a child rests before its next claim: after *quarantine_after* bad attempts in a row 1, 2, 4, at most 8 s.

    A node that fails in milliseconds would otherwise take thousands of files before it can be judged.

    Args:
        db: The child's database.
        node: Whose child it is.
        mailbox: Where its attempts in a row are counted; they outlive a child that dies each time.
    """

    def __init__(self, db: Database, node: Boot, mailbox: Mailbox) -> None:
        self._db = db
        self._node = node
        self._mailbox = mailbox
        self._rested = 0

    def take(self, pause: Callable[[float], None], stopping: Callable[[], bool]) -> None:
        """Rest, if that is due; once after each bad attempt.

        Args:
            pause: Waits so many seconds [s], or until a signal comes.
            stopping: Whether the child is told to stop: then the rest is over.
        """
        letter, after = self._mailbox.read(), self._db.settings.quarantine_after
        if not after or letter.streak < after or letter.streak == self._rested:
            return
        self._rested = letter.streak
        forgiven, shared = self._asked(time.monotonic() - letter.streak_began)
        if forgiven:
            self._mailbox.forgive()
            return
        if shared:
            return
        seconds = min(LONGEST_REST, 2.0 ** min(letter.streak - after, 10))
        log.warning("%d attempts in a row ended badly; resting %g s before the next claim", letter.streak, seconds)
        over = time.monotonic() + seconds
        while not stopping() and (left := over - time.monotonic()) > 0:
            pause(left)

    def _asked(self, streak_seconds: float) -> tuple[bool, bool]:
        """What sql/rest.sql answers: forgiven, shared; neither while the database is away."""
        try:
            rows = self._db.run(
                "rest", server_id=self._node.server_id, boot=self._node.boot, streak_seconds=streak_seconds
            )
        except (DatabaseUnavailableError, DatabaseError):
            self._db.drop_connection()
            return False, False
        return (rows[0]["forgiven"], rows[0]["shared"]) if rows else (False, False)


class Watch:
    """What a supervisor does about quarantine, once a heartbeat.

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

    def beat(self, state: str, letter: Letter) -> None:
        """Judge the node while its attempts end badly in a row; end its quarantine when it has completed a file.

        Args:
            state: What the heartbeat answered: active, draining or quarantined.
            letter: What the child says.

        Raises:
            DatabaseUnavailableError: No answer; asked again at the next heartbeat.
        """
        try:
            self._beat(state, letter)
        except DatabaseError as error:
            # The heartbeat itself went well: a node that cannot be judged works on.
            log.warning("the node cannot be judged: %s", error)

    def _beat(self, state: str, letter: Letter) -> None:
        if state == "quarantined":
            if letter.completed > self._completed and self._recover():
                self._completed = letter.completed
            elif not self._quarantined:
                self._quarantined = True
                log.error("in quarantine: one file is tried now and then; a completion ends it, or opskit resume")
            return
        if self._quarantined:
            self._quarantined = False
            log.info("out of quarantine")
        self._completed = letter.completed
        if state == "active" and (reason := judge(self._db, self._node, letter.streak)):
            self._quarantined = True
            log.error("in quarantine: %s", reason)

    def _recover(self) -> bool:
        recovered = bool(self._db.run("recover", server_id=self._node.server_id, boot=self._node.boot))
        if recovered:
            self._quarantined = False
            log.info("out of quarantine: it completed a file")
        return recovered


def judge(db: Database, node: Boot, streak: int) -> str | None:
    """Judge a node whose last attempts ended badly; evidence is what others completed, never its failures alone.

    Args:
        db: An open database.
        node: The node.
        streak: How many of its attempts in a row ended badly, until now.

    Returns:
        Why it is in quarantine now; None when it is not.

    Raises:
        DatabaseUnavailableError: No answer.

    SQL: sql/bad_attempts.sql, sql/quarantine.sql
    """
    after = db.settings.quarantine_after
    if not after or streak < after:
        return None
    charge = db.one("bad_attempts", server_id=node.server_id, row_limit=min(streak, _MOST_EVIDENCE))
    if len(charge["ids"]) < after:
        return None
    rows = []
    try:
        rows = db.run(
            "quarantine",
            server_id=node.server_id,
            boot=node.boot,
            ids=charge["ids"],
            since=charge["since"].isoformat(),
            again=charge["again"].isoformat(),
            after=after,
        )
    except DatabaseError as error:
        # Somebody has a node's row locked for longer than a moment: the next heartbeat judges.
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
    return rows[0]["reason"] if rows else None


def probed(db: Database, node: Boot) -> None:
    """A node in quarantine has claimed its probe: the next is due after a pause twice as long.

    A database that is away changes nothing: the next claim would be a probe, too.

    SQL: sql/probe.sql
    """
    log.info("in quarantine: trying one file")
    with contextlib.suppress(DatabaseUnavailableError, DatabaseError):
        db.run("probe", server_id=node.server_id, boot=node.boot)
