"""Fixtures of the queue's tests."""

from __future__ import annotations

import pytest

from opskit.database import Database
from opskit.queue.server_id import Boot
from tests.support.one_database import database_url, db, one_database, schema, settings
from tests.support.tables import boot

__all__ = ["database_url", "db", "one_database", "schema", "settings"]


@pytest.fixture
def fleet(db: Database) -> tuple[Boot, Boot, Boot]:
    """Three nodes."""
    return boot(db, "a"), boot(db, "b"), boot(db, "c")
