"""Fixtures of the files' tests: a claimed file, and a load on a database of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from opskit.files.claimed import ClaimedFile
from opskit.files.loading import load_table
from tests.support.databases import Lent
from tests.support.loads import Connection, MakeFile, RealDesk, claimed


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """Write a file and claim it, at a desk without a database."""

    def make(name: str, content: bytes) -> ClaimedFile:
        (tmp_path / name).write_bytes(content)
        return claimed(tmp_path / name, RealDesk())

    return make


@pytest.fixture
def connection(lent: Lent) -> Iterator[Connection]:
    opened = lent.connection(psycopg.Connection) or psycopg.connect(lent.url, autocommit=True)
    opened.row_factory = dict_row
    with opened:
        yield opened
        lent.hand_back(opened)


@pytest.fixture
def desk(connection: Connection) -> RealDesk:
    return RealDesk(connection)


@pytest.fixture
def load(desk: RealDesk, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write a file and load it."""

    def write_and_load(name: str, content: bytes, id: str = "1", *, attempt: int = 1, **options: Any) -> dict[str, Any]:
        (tmp_path / name).write_bytes(content)
        return load_table(claimed(tmp_path / name, desk, id, attempt=attempt), **options)

    return write_and_load
