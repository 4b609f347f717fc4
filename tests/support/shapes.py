"""What the tests of tables of any shape share: shapes, a migration, a whole cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg import sql

from opskit import migration, queue
from opskit.database import Database
from opskit.queue import claims
from tests.support.tables import SHAPES, TIMES, Shape, application, boot, claim, fail, put, row, run

PLAIN = SHAPES[:: len(TIMES)]  # each type of id once


def migrated(db: Database, shape: Shape) -> Database:
    """That database with the application's table of a shape, migrated and cut over."""
    with application(db.settings) as connection:
        shape.create(connection, db.settings.files)
    migration.migrate(db)
    migration.queue_new(db)
    return db


def uploads(folder: Path, *names: str) -> list[Path]:
    """Small files to be queued."""
    paths = [folder / name for name in names]
    for path in paths:
        path.write_text("a,b\n")
    return paths


# -- the whole cycle -------------------------------------------------------------------------


def cycle(db: Database, new: Any) -> list[str]:
    """Claim, complete, fail, release, clean up, requeue: every verb once, judged by its answers and the rows."""
    ids = [new(name) for name in ("completes", "fails", "rejects", "goes back", "gets stuck", "is orphaned")]
    node = boot(db, "node-a", lease_seconds=600.0)
    take = dict(zip(("done", "fails", "rejects", "back", "stuck", "orphan"), ids, strict=True))

    first = claim(db, node)
    assert first.row is not None
    assert first.row["id"] == take["done"]
    second = claims.complete_and_claim(
        db, node, id=take["done"], done_token=first.token, result={"n": 1}, after=first.cursor, token=claims.new_token()
    )
    assert second is not None
    assert second.row is not None
    assert second.row["id"] == take["fails"]
    assert row(db, take["done"])["processing_status"] == "completed"
    assert fail(db, take["fails"], second.token, retry_seconds=60.0) == "queued"
    assert fail(db, take["rejects"], claims.claim_one(db, node, take["rejects"]).token, outcome="rejected") == "failed"
    back = claims.claim_one(db, node, take["back"])
    assert claims.release(db, id=take["back"], token=back.token, reason="drained", actor="node-a") == "queued"
    with claims.completing(db, id=take["back"], token=claims.claim_one(db, node, take["back"]).token) as tx:
        tx.execute("SELECT 1")

    claims.claim_one(db, boot(db, "dies", lease_seconds=600.0), take["orphan"])
    claims.claim_one(db, node, take["stuck"])
    with db.connection() as connection:
        run(connection, "DELETE FROM {} WHERE server_id = 'node-a'", sql.Identifier(db.names["nodes"]))
        run(connection, "UPDATE {} SET lease_until = now() - interval '1 minute'", sql.Identifier(db.names["nodes"]))
    put(db, take["stuck"], "processing_started_at = processing_started_at - interval '2 hours'")
    looked = queue.cleanup(db, actor="test")
    assert [(each["id"], each["outcome"]) for each in looked.ended] == [(take["stuck"], "failed")]
    assert [each["id"] for each in looked.pending] == [take["orphan"]]
    with db.connection() as connection:
        run(connection, "UPDATE {} SET looked_at = now() - interval '3 seconds'", sql.Identifier(db.names["nodes"]))
    (suspect,) = queue.preview(db)
    assert (suspect["verdict"], suspect["would_become"]) == ("dead", "queued")
    cleaned = queue.cleanup(db, claims=[suspect["claim"]], actor="test")
    assert [(each["id"], each["outcome"]) for each in cleaned.ended] == [(take["orphan"], "queued")]

    requeued = queue.requeue(db, [take["rejects"]], actor="test")
    assert [each["id"] for each in requeued] == [take["rejects"]]
    states = {name: row(db, id)["processing_status"] for name, id in take.items()}
    assert states == {
        "done": "completed", "fails": "queued", "rejects": "queued", "back": "completed",
        "stuck": "failed", "orphan": "queued",
    }  # fmt: skip
    return ids
