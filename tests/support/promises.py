"""What the tests of the database's promises share: plain updates, events, waiting sessions."""

from __future__ import annotations

from typing import Any

from opskit.database import Database
from tests.support.tables import rows, run


def events(db: Database, kind: str) -> list[dict[str, Any]]:
    """The events of one kind, oldest first."""
    with db.connection() as connection:
        return [event for event in rows(connection, db.names["events"], order="id") if event["kind"] == kind]


def waiting(db: Database) -> int:
    """How many sessions of this database wait for a lock."""
    query = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with db.connection() as connection:
        return int(run(connection, query)[0]["n"])
