"""A short storm of random kills; `make soak` blows for longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from opskit import migration
from opskit.database import Database
from tests.faults import soak
from tests.faults.conftest import settings_for


@pytest.mark.slow
def test_a_storm_of_random_kills_loses_nothing_and_does_nothing_twice(database_url: str, tmp_path: Path) -> None:
    with Database(settings_for(database_url, tmp_path, **soak.short_times())) as db:
        migration.migrate(db)

        storm = soak.blow(db, tmp_path, kills=20, seed=int(os.environ.get("SEED", "5")))

    assert storm.violations == [], soak.table(storm)
    assert storm.kills == 20
