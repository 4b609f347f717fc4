"""Fixtures of the fault suite: a server that may be hurt, a database on it, nodes of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opskit import migration
from opskit.database import Database
from opskit.settings import Settings
from tests.support import cluster as clusters
from tests.support.nodes import Node, running_nodes

Start = Callable[..., Node]


def settings_for(url: str, folder: Path, **given: Any) -> Settings:
    """Settings with short times for a database."""
    short = {"lease_seconds": 2.0, "poll_seconds": 0.2, "retry_seconds": 0.0, "max_failures": 1000}
    return Settings.load({}, database_url=url, env="development", home=str(folder), **{**short, **given})


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


@pytest.fixture
def cluster() -> Iterator[clusters.Cluster]:
    """A server of the test's own, to be hurt."""
    with clusters.running_cluster() as running:
        yield running


@pytest.fixture
def hurt_db(cluster: clusters.Cluster, tmp_path: Path) -> Iterator[Database]:
    """A migrated database on it."""
    with Database(settings_for(cluster.create_database(), tmp_path)) as database:
        migration.migrate(database)
        yield database


@pytest.fixture
def hurt(hurt_db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node on that database."""
    with running_nodes(hurt_db, tmp_path) as begin:
        yield begin
