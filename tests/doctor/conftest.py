"""Fixtures of the doctor's tests: a healthy database."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from opskit import migration
from opskit.database import Database
from tests.support.tables import boot


@pytest.fixture
def healthy(db: Database) -> Database:
    """A freshly migrated database with a live node."""
    boot(db, "node-a", lease_seconds=600.0)
    return db


@pytest.fixture
def other(healthy: Database) -> Iterator[Database]:
    """Production's tables beside development's, migrated."""
    with Database(dataclasses.replace(healthy.settings, env="production")) as production:
        migration.migrate(production)
        yield production
