"""Stores the output of attempts, over the supervisor's connection."""

from __future__ import annotations

import logging
import time

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.attempt_logs import Chunk, keep
from opskit.queue.interruptions import passing
from opskit.worker.output import Output
from opskit.worker.status import SharedStatus

log = logging.getLogger("opskit")
_EVERY_SECONDS = 1.0
_MOST_AT_ONCE = 200


class LogKeeper:
    """Stores the output of attempts, at most once a second; a silent attempt costs nothing.

    Args:
        db: The supervisor's database.
        status: The node's shared status.
    """

    def __init__(self, db: Database, status: SharedStatus) -> None:
        self._db = db
        self._output = Output(status)
        self._waiting: list[Chunk] = []
        self._kept_at = 0.0
        self._refused = db.settings.log_days == 0

    @property
    def fd(self) -> int:
        """The descriptor that a child's stdout and stderr lead to."""
        return self._output.theirs

    def keep(self, *, now: bool = False) -> None:
        """Store the output since the last call; while the database is away, a later call does.

        Args:
            now: Do not wait for the second to be over.
        """
        if not (self._waiting or self._output.speaks) or (
            not now and time.monotonic() - self._kept_at < _EVERY_SECONDS
        ):
            return
        self._kept_at = time.monotonic()
        self._waiting += self._output.take()
        if self._refused:
            self._waiting.clear()
        try:
            with self._db.deadline(5.0):
                while self._waiting:
                    keep(self._db, self._waiting[:_MOST_AT_ONCE])
                    del self._waiting[:_MOST_AT_ONCE]
        except (DatabaseError, DatabaseUnavailableError) as error:
            if passing(error):
                self._db.drop_connection()
                return
            self._refused = True
            self._waiting.clear()
            log.warning("what attempts say is not kept from now on: %s", error)

    def drain(self) -> None:
        """Read the rest of a dead child's output."""
        self._output.drained()

    def close(self) -> None:
        """Stop reading."""
        self._output.close()
