"""What each node has done is read from its own events, however long the history of the others is."""

from __future__ import annotations

import uuid

from opskit.database import Database
from opskit.queue import nodes
from tests.support.nodes import ask

OTHERS = 20_000


def test_a_node_without_events_does_not_have_the_history_of_all_nodes_read(db: Database) -> None:
    for name in ("node-new", "node-worn"):
        assert nodes.register(db, name, str(uuid.uuid4())) is not None
    ask(
        db,
        "INSERT INTO dev_processing_events (at, kind, server_id, outcome, reason) "
        "SELECT now(), 'attempt', 'gone-' || n %% 3, 'raised', 'E' FROM generate_series(1, %s) AS n",
        OTHERS,
    )
    ask(
        db,
        "INSERT INTO dev_processing_events (at, kind, server_id, outcome, reason) VALUES"
        " (now() - interval '2 hours', 'attempt', 'node-worn', 'raised', 'OldError: a'),"
        " (now(), 'attempt', 'node-worn', 'timeout', 'NewError: b')",
    )
    with db.connection() as connection:
        connection.execute(b"VACUUM ANALYZE dev_processing_events")

    rows = db.run("node_work", since_seconds=3600)

    assert [(row["server_id"], row["bad_attempts"], row["last_error"]) for row in rows] == [
        ("node-new", 0, None),
        ("node-worn", 1, "NewError: b"),
    ]
    _, text = db._text("node_work")
    with db.connection() as connection:
        plan = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + text, {"since_seconds": "3600"}).fetchone()
    assert plan is not None
    scans = [each for each in _scans(plan["QUERY PLAN"][0]["Plan"]) if each["Relation Name"] == "dev_processing_events"]
    assert {each["Index Name"] for each in scans} == {db.names["events_by_node"]}
    assert sum(each.get("Rows Removed by Filter", 0) for each in scans) < 10


def _scans(plan: dict) -> list[dict]:  # type: ignore[type-arg]
    below = [scan for each in plan.get("Plans", []) for scan in _scans(each)]
    return [plan, *below] if "Relation Name" in plan else below
