"""Housekeeping: at its heartbeats each node ends claims that nobody works on, and prunes old rows."""

from __future__ import annotations

import logging
import random
import time

from opskit import queue
from opskit.database import Database
from opskit.queue import nodes

log = logging.getLogger("opskit")
_PRUNE_SECONDS = 3600.0


class Housekeeping:
    """The cleanups and the pruning of one node.

    Args:
        db: The supervisor's database.
        server_id: Who acts, for the history.

    Attributes:
        next_prune: When pruning is due [s, monotonic].
    """

    def __init__(self, db: Database, server_id: str) -> None:
        self._db = db
        self._server_id = server_id
        self._next_evict = 0.0
        self._may_prune: bool | None = None
        self.next_prune = time.monotonic() + random.uniform(0, _PRUNE_SECONDS)

    def do(self, *, others: bool) -> None:
        """Clean up, and prune once an hour.

        Args:
            others: Whether other nodes hold files.

        Raises:
            DatabaseError: The node's role may not.
            DatabaseUnavailableError: No answer.
        """
        self._clean_up(others=others)
        if time.monotonic() >= self.next_prune:
            self.next_prune = time.monotonic() + _PRUNE_SECONDS
            self._prune()

    def _clean_up(self, *, others: bool) -> None:
        # Who is out with a transaction open is rare: once a lease is often enough to look for it.
        evict = time.monotonic() >= self._next_evict
        if evict:
            self._next_evict = time.monotonic() + self._db.settings.lease_seconds
        # Where nobody else holds anything there is nothing to end: an idle node asks 0.4 times a second, not 0.7.
        if evict or others:
            done = queue.cleanup(self._db, look_seconds=None, evict=evict, actor=self._server_id)
            for row in done.ended:
                log.warning("file %s of %s: %s; now %s", row["id"], row["server_id"], row["reason"], row["outcome"])

    def _prune(self) -> None:
        if self._may_prune is None:
            self._may_prune = nodes.may_prune(self._db)
            if not self._may_prune:
                log.info("this node's role may not delete: schedule opskit prune under one that may")
        if self._may_prune:
            queue.prune(self._db)
