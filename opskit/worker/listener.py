"""The listener: an idle child waits for a notification (a hint), a due retry, a signal, or the poll (the truth)."""

from __future__ import annotations

import contextlib
import os
import random
import select
from typing import Any

import psycopg
from psycopg import sql

from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import DatabaseError, DatabaseUnavailableError

# A notification wakes every waiting node, and one gets the file: of sixteen, ten looked in vain at each of a thousand
# single inserts, and two or three with this. Who found the last file looks first.
_STEP_BACK_SECONDS = 0.03


class Listener:
    """Wakes an idle child.

    Attributes:
        signal_fd: Where a signal handler writes, for `signal.set_wakeup_fd`; what is written there ends a wait.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._signalled, self.signal_fd = os.pipe()
        self._listening: Connection | None = None
        self._notified = False
        self._news = False
        self._vain = 0
        self._woken = 0
        for end in (self._signalled, self.signal_fd):
            os.set_blocking(end, False)

    def wait(self, due_seconds: float | None) -> None:
        """Wait for whatever comes first, with jitter.

        Args:
            due_seconds: When the next file is due, 0 or less when it is already [s]; None when none is known.
        """
        limit = self._db.settings.poll_seconds * random.uniform(0.8, 1.2)
        self._vain = self._vain + 1 if due_seconds is not None and due_seconds <= 0 else 0
        if due_seconds is not None:
            # Due but not to be had: somebody else is claiming it this moment, or has it locked for longer.
            limit = min(limit, max(due_seconds, 0.01 * 2 ** min(self._vain, 10)) + random.uniform(0, 0.01))
        sources: list[Any] = [self._signalled]
        connection = self._listen()
        if connection is not None:
            if self._notified:
                self._notified = False
                self.step_back()
                return
            sources.append(connection.fileno())
        ready, _, _ = select.select(sources, [], [], limit)
        if self._signalled in ready:
            self._noted()
        if connection is not None and connection.fileno() in ready:
            self.step_back()
            self._drain_notifications(connection)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        if select.select([self._signalled], [], [], seconds)[0]:
            self._noted()

    def heard(self) -> bool:
        """Whether files have come since this was last asked; it waits for nothing."""
        connection = self._listen()
        if connection is not None:
            self._drain_notifications(connection)
        news, self._news = self._news, False
        return news

    def found(self) -> None:
        """Record that a file was found: this child claims first at the next notification."""
        self._woken = 0

    def step_back(self) -> None:
        """Woken: the more often for nothing, the longer others go first; what comes meanwhile is seen in one look."""
        self._woken += 1
        if self._woken > 1:
            self.pause(random.uniform(0, min(_STEP_BACK_SECONDS, 0.001 * 2 ** min(self._woken, 10))))

    def _noted(self) -> None:
        """The signal was seen; the next wait is a whole one."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._signalled, 4096)

    def _listen(self) -> Connection | None:
        """The connection, listening; None behind a pooler, which has no LISTEN, and while the database is away."""
        try:
            with self._db.connection() as connection:
                if self._db.pooler:
                    return None
                if connection is not self._listening:
                    connection.add_notify_handler(self._note)
                    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._db.names["channel"])))
                    self._listening = connection
                    # Files that came before this connection listened gave no notification: claim once more.
                    self._notified = self._news = True
                return connection
        except (DatabaseUnavailableError, DatabaseError):
            self._db.drop_connection()
            return None

    def _note(self, _: object) -> None:
        self._notified = self._news = True

    def _drain_notifications(self, connection: Connection) -> None:
        try:
            connection.pgconn.consume_input()
            while connection.pgconn.notifies():
                self._news = True
        except psycopg.Error:
            self._db.drop_connection()
