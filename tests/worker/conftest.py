"""Fixtures of the worker's tests: nodes, started as users start them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support.node_steps import Start
from tests.support.nodes import running_nodes


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin
