"""What each node has done is read from its own events, however long the history of the others is."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from opskit.database import Database
from opskit.queue import nodes
from tests.support.nodes import ask

OTHERS = 20_000


@pytest.fixture
def long_history(db: Database) -> Database:
    """Nodes that are gone have nearly all events; one of the two that are there has two, the other none."""
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
    return db


def test_a_node_has_its_own_bad_attempts_of_the_hour_and_its_newest_error(long_history: Database) -> None:
    rows = long_history.run("node_work", since_seconds=3600)

    assert [(row["server_id"], row["bad_attempts"], row["last_error"]) for row in rows] == [
        ("node-new", 0, None),
        ("node-worn", 1, "NewError: b"),
    ]


@pytest.mark.parametrize(
    ("name", "given"),
    [("node_work", {"since_seconds": "3600"}), ("node_said", {"server_id": "node-new", "row_limit": "20"})],
)
def test_a_node_without_events_does_not_have_the_history_of_all_nodes_read(
    long_history: Database, name: str, given: dict[str, str]
) -> None:
    _, text = long_history._text(name)
    with long_history.connection() as connection:
        plan = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + text, given).fetchone()

    assert plan is not None
    every = scans(plan["QUERY PLAN"][0]["Plan"])
    of_events = [each for each in every if each["Relation Name"] == "dev_processing_events"]
    assert {each["Index Name"] for each in of_events} == {long_history.names["events_by_node"]}
    assert sum(each.get("Rows Removed by Filter", 0) for each in of_events) < 10


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    below = [scan for each in plan.get("Plans", []) for scan in scans(each)]
    return [plan, *below] if "Relation Name" in plan else below
