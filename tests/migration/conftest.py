"""Fixtures of the migration's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opskit.database import Database
from opskit.settings import Settings


@pytest.fixture
def bare(settings: Settings) -> Iterator[Database]:
    """A database that opskit has never seen."""
    with Database(settings, pooled=False) as database:
        yield database
