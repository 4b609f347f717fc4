"""What the tests of cleanup share: claims of servers that are gone, leases that have ended, looks of long ago."""

from __future__ import annotations

from typing import Any

from opskit import queue
from opskit.database import Database
from opskit.queue.reaper import Cleanup
from tests.support.tables import files, put, put_node


def foreign(db: Database, age: str, *, token: bool = True, server_id: str | None = "gone") -> str:
    """A claim of a server that no node's row describes, so old; an older processor's has no token."""
    (id,) = files(db, f"of-{server_id}")
    server = "NULL" if server_id is None else f"'{server_id}'"
    put(db, id, f"processing_status = 'processing', processing_server_id = {server}, "
                f"processing_started_at = now() - interval '{age}', processing_attempt = 1")  # fmt: skip
    if token:
        put(db, id, "processing_token = gen_random_uuid(), processing_epoch = id")
    return id


def lease_ended(db: Database, server_id: str, ago: str = "1 minute") -> None:
    """The node has died: its lease lies in the past."""
    put_node(db, server_id, f"lease_until = now() - interval '{ago}'")


def cleanup(db: Database, **given: Any) -> Cleanup:
    return queue.cleanup(db, actor="test", **given)


def ended(done: Cleanup) -> list[tuple[str, str, str]]:
    return [(each["id"], each["verdict"], each["outcome"]) for each in done.ended]
