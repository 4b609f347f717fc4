"""A database that is opened when it is first asked for, for an API over a server that is away."""

from __future__ import annotations

import threading

from opskit.database import Database
from opskit.settings import Settings
from opskit.web.api.app import STATEMENT_SECONDS


class SharedDatabase:
    """One database for a whole process, opened when it is first called for.

    Args:
        settings: Which database.
        statement_seconds: Longest time a statement may take [s]. Defaults to 5.
    """

    def __init__(self, settings: Settings, *, statement_seconds: float = STATEMENT_SECONDS) -> None:
        self._settings, self._seconds = settings, statement_seconds
        self._lock = threading.Lock()
        self._database: Database | None = None

    def __call__(self) -> Database:
        """The open database."""
        with self._lock:
            if self._database is None:
                self._database = Database(self._settings, statement_seconds=self._seconds)
            return self._database

    def close(self) -> None:
        """Close it; the next call opens it again."""
        with self._lock:
            database, self._database = self._database, None
        if database is not None:
            database.close()
