"""Reachability of the database: a supervisor logs each change once."""

from __future__ import annotations

import logging

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.interruptions import passing

log = logging.getLogger("opskit")


class Reachability:
    """Whether a supervisor's last statements were answered.

    Args:
        db: The supervisor's database.

    Attributes:
        away: Whether the database is away.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self.away = False
        self._said: dict[str, str] = {}

    def missed(self, error: DatabaseError | DatabaseUnavailableError, what: str) -> None:
        """Record that the database is away, or that it refuses a statement; logs each once.

        Args:
            error: What became of a statement.
            what: What the statement was for, as the log names it.
        """
        if not passing(error):
            if self.is_news(what, str(error)):
                log.error("the database refuses this node's %s: %s", what, error)
            return
        if not self.away:
            log.warning("%s; going on as soon as it answers", error)
        self.away = True
        self._db.drop_connection()

    def answered(self) -> None:
        """Record that the database has answered a registration or a heartbeat."""
        if self.away:
            log.info("the database answers again")
        self.away = False
        self._said.pop("heartbeat", None)

    def is_news(self, what: str, text: str) -> bool:
        """Whether *text* is something else than what was said of *what* last."""
        is_news = self._said.get(what) != text
        self._said[what] = text
        return is_news
