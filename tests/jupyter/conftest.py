"""Fixtures of the notebooks' tests."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from opskit import jupyter, queue
from opskit.database import Database
from opskit.queue import claims, nodes
from tests.support.nodes import add_files


@pytest.fixture
def shell(db: Database) -> Iterator[InteractiveShell]:
    """IPython with the extension, and a connection in the variable `db`."""
    one = InteractiveShell.instance()
    one.user_ns["db"] = db
    one.run_line_magic("load_ext", "opskit")
    yield one
    one.run_line_magic("unload_ext", "opskit")
    InteractiveShell.clear_instance()


@pytest.fixture
def busy(db: Database) -> Iterator[Database]:
    """The samples processed by two nodes, one file failed, one in the hands of a third node, two in the queue."""
    with Database(dataclasses.replace(db.settings, lease_seconds=3600)) as calm:
        queue.enqueue(calm, jupyter.samples())
        jupyter.work(calm, "node-a", "node-b", max_files=7)
        add_files(calm, "bad.csv", "runs.csv", "waits.csv", "waits too.csv")
        node = nodes.register(calm, "node-c", str(uuid.uuid4()))
        assert node is not None
        bad = claims.claim(calm, node)
        assert bad.row is not None
        claims.fail(
            calm, id=bad.row["id"], token=bad.token, outcome="rejected", error="line 17 is bad", max_failures=3,
            retry_seconds=0, actor="node-c",
        )  # fmt: skip
        claims.claim(calm, node)
        yield calm
