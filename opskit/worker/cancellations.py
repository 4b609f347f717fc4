"""Cancel notifications: a supervisor listens for them, and reads its node's row when one names its claim."""

from __future__ import annotations

import psycopg
from psycopg import sql

from opskit.database import Database
from opskit.database.session import Connection

LISTEN_AFTER_SECONDS = 1.0
"""Age of the file in hand at which its supervisor begins to listen [s]: each session that listens makes every NOTIFY
dearer, and a younger file is looked at when it is so old."""


class Cancellations:
    """The notifications of cancelled claims, on a supervisor's connection.

    Args:
        db: The supervisor's database; behind a pooler, which has no LISTEN, nothing is heard.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._connection: Connection | None = None
        self._heard: set[str] = set()

    @property
    def descriptor(self) -> int | None:
        """The socket's descriptor, to wait on; None while nobody listens."""
        connection = self._connection
        if connection is None or connection.closed:
            return None
        is_current: bool = connection is self._db.own
        return connection.fileno() if is_current else None

    @property
    def may_listen(self) -> bool:
        """Whether nobody listens yet, and the database can be listened to."""
        return self.descriptor is None and not self._db.pooler

    def attend(self, is_old: bool, *, may_end: bool) -> bool:
        """Listen while the file in hand is old enough; returns whether it begins only now.

        Args:
            is_old: Whether the file in hand is that old.
            may_end: Whether it may stop to listen now, which costs a statement.

        Raises:
            DatabaseUnavailableError: No answer within 5 s.
        """
        if is_old and self.may_listen:
            with self._db.deadline(5.0):
                return self.listen()
        if may_end and not is_old and self.descriptor is not None:
            with self._db.deadline(5.0):
                self.unlisten()
        return False

    def listen(self) -> bool:
        """Listen from now on; returns whether it begins only now: what came before gave no notification."""
        if self.descriptor is not None or self._db.pooler:
            return False
        with self._db.connection() as connection:
            if self._db.pooler:
                return False
            connection.add_notify_handler(lambda notification: self._heard.add(notification.payload))
            connection.execute(self._command("LISTEN {}"))
            self._connection = connection
        return True

    def unlisten(self) -> None:
        """Listen no longer."""
        if self.descriptor is None:
            return
        with self._db.connection() as connection:
            connection.execute(self._command("UNLISTEN {}"))
        self._connection = None
        self._heard.clear()

    def _command(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(sql.Identifier(self._db.names["cancel_channel"]))

    def hear(self) -> None:
        """Read the notifications that have come; a broken connection is dropped."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.pgconn.consume_input()
            while notification := connection.pgconn.notifies():
                self._heard.add(notification.extra.decode(errors="replace"))
        except psycopg.Error:
            self._db.drop_connection()

    def names(self, token: str) -> bool:
        """Whether a notification has named this claim since it was last asked for."""
        heard, self._heard = self._heard, set()
        return token in heard
