"""Whether the database can be reached, as the log of a supervisor says it: each change once."""

from __future__ import annotations

import logging

from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue.interruptions import passing

log = logging.getLogger("opskit")


class Reachability:
    """What became of a supervisor's last statements.

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
        """The database is away, or it answers and refuses; each is said once.

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
        """The database has answered a registration or a heartbeat."""
        if self.away:
            log.info("the database answers again")
        self.away = False
        self._said.pop("heartbeat", None)

    def is_news(self, what: str, text: str) -> bool:
        """Whether *text* is something else than what was said of *what* last."""
        is_news = self._said.get(what) != text
        self._said[what] = text
        return is_news
