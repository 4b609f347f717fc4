"""What the tests of nodes share: how a node is started, and which files are in hand."""

from __future__ import annotations

from collections.abc import Callable

from opskit.database import Database
from tests.support.nodes import Node

Start = Callable[..., Node]


def in_hand(db: Database, node: Node) -> str | None:
    """The id of the file that a node holds."""
    rows = db.run("held", server_id=node.name)
    return rows[0]["id"] if rows else None
