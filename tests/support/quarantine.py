"""What the tests of quarantine share: files that a node failed and another completed."""

from __future__ import annotations

from opskit.database import Database
from opskit.queue import claims
from opskit.queue.server_id import Boot
from tests.support.nodes import ask
from tests.support.tables import fail, files, put_node

FILE = 'File "/srv/app/work.py", line 3, in process\n'


def complete(db: Database, node: Boot, id: str) -> None:
    """Claim one file and complete it."""
    claims.complete(db, id=id, token=claims.claim_one(db, node, id).token)


def failed_by(db: Database, node: Boot, *ids: str, outcome: str = "raised") -> None:
    """Claim each file and end the attempt badly."""
    for id in ids:
        token = claims.claim_one(db, node, id).token
        fail(db, id, token, outcome=outcome, error=f"Traceback:\n{FILE}OSError: [Errno 28] No space left on device")


def convicting(db: Database, sick: Boot, *healthy: Boot, count: int = 5) -> list[str]:
    """Files that one node failed and others then completed, and one more that it failed after that."""
    ids = files(db, *(f"{sick.server_id}-{n}.csv" for n in range(count + 1)))
    failed_by(db, sick, *ids[:-1])
    for number, id in enumerate(ids[:-1]):
        complete(db, healthy[number % len(healthy)], id)
    failed_by(db, sick, ids[-1])
    return ids


def state(db: Database, server_id: str) -> str:
    """What a node is told to do."""
    return str(ask(db, f"SELECT state FROM {db.names['nodes']} WHERE server_id = %s", server_id)[0]["state"])


def quarantined(db: Database, *names: str) -> None:
    """Put nodes into quarantine."""
    for name in names:
        put_node(db, name, "state = 'quarantined', probe_at = now() + interval '1 h', probe_seconds = 300")
