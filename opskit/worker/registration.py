"""Registration: one boot at a time has a server ID, and the next waits for its lease to end."""

from __future__ import annotations

import logging
import os
import uuid
from socket import gethostname

from opskit import queue
from opskit.database import Database
from opskit.queue import claims, lanes, nodes
from opskit.queue.server_id import Boot

log = logging.getLogger("opskit")


class Registration:
    """One attempt of a node to take its server ID, under a new boot.

    Args:
        db: The supervisor's database.
        server_id: The server ID.
    """

    def __init__(self, db: Database, server_id: str) -> None:
        self._db = db
        self._server_id = server_id
        self._boot = str(uuid.uuid4())
        self._told = False

    def take(self) -> Boot | None:
        """Register; None while the server ID is alive elsewhere.

        Raises:
            NotMigratedError: The tables are missing.
            SettingError: The node is told which lanes to take, and the table has none.
            DatabaseUnavailableError: No answer: perhaps it is registered.
        """
        route = lanes.Route.of(self._db.settings)
        if route.restricts:
            lanes.demand_column(self._db, route)
        return nodes.register(self._db, self._server_id, self._boot)

    def seconds_to_wait(self) -> float:
        """Seconds until the lease of the server ID's holder ends [s]; logs once who the holder is."""
        settings = self._db.settings
        holder = nodes.alive(self._db, self._server_id)
        if holder is None:
            return 0.0
        if not self._told:
            self._told = True
            log.warning(
                "server ID %s is alive on %s, process %s; waiting for its lease to end (%.0f s after a beat)",
                self._server_id, holder["host"], holder["pid"], settings.lease_seconds,
            )  # fmt: skip
            if settings.node_id is None and (holder["host"], holder["pid"]) == (gethostname(), os.getpid()):
                log.warning(
                    "if that is no earlier run of this node, another machine or container has the same host name "
                    "and process ID, and only one of the two works: set NODE_ID on each, to names that differ"
                )
        return float(holder["lease_left_seconds"])


def end_earlier_claims(db: Database, boot: Boot) -> bool:
    """End what earlier boots of this server ID still hold; returns whether some of it is left.

    A claim of an earlier boot is an orphan, by the epoch: no second look is needed. One that its own open transaction
    has locked is passed over; until it is ended, too, nothing is claimed, or this server ID would hold two files.

    Raises:
        DatabaseUnavailableError: No answer: call it again.
    """
    done = queue.cleanup(db, server_id=boot.server_id, look_seconds=None, actor=boot.server_id)
    for row in done.ended:
        log.warning("file %s of an earlier boot: %s; now %s", row["id"], row["reason"], row["outcome"])
    return any(row["epoch"] < boot.epoch for row in claims.held(db, boot.server_id))
