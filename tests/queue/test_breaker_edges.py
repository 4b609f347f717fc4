"""What the breaker's statements leave alone, and what they say when nothing is claimed."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.database import Database
from opskit.queue import claims
from tests.queue.test_breaker_rules import failed, open_breaker, opened, sql
from tests.queue.test_lane_rules import laned, turn
from tests.support.tables import boot, files, put, put_node, row

__all__ = ["laned"]
STRANGER = "00000000-0000-0000-0000-000000000007"


def probe(db: Database, name: str, **given: Any) -> dict[str, Any]:
    """Ask for the probe of an open breaker, as node-a."""
    (node,) = sql(db, f"SELECT boot::text AS boot, epoch FROM {db.names['nodes']} WHERE server_id = 'node-a'")
    lanes = turn(None).values if name == "breaker_probe_in_turn" else {}
    return dict(db.one(name, **{"server_id": "node-a", "token": claims.new_token(), **node, **lanes, **given}))


PROBES = ("breaker_probe", "breaker_probe_in_turn")


def test_an_event_that_is_no_attempt_costs_a_file_nothing_that_is_given_back(db: Database) -> None:
    id = failed(db, boot(db), most=3)
    put(db, id, "processing_failures = 2")
    columns = "file_id, server_id, attempt, details"
    sql(db, f"INSERT INTO {db.names['events']} (kind, {columns}) SELECT 'note', {columns} FROM {db.names['events']}")

    assert open_breaker(db, [id])["opened"]
    assert row(db, id)["processing_failures"] == 1


def test_the_event_of_an_opening_says_what_was_given_back_and_what_of_it_was_requeued(db: Database) -> None:
    node = boot(db)
    open_breaker(db, [failed(db, node, most=3), failed(db, node, most=1)])

    (event,) = sql(db, f"SELECT details FROM {db.names['events']} WHERE kind = 'breaker'")
    assert (event["details"]["givenBack"], event["details"]["requeued"]) == (2, 1)


def test_a_breaker_that_stays_open_leaves_its_nodes_paused(db: Database) -> None:
    boot(db)
    opened(db)
    put_node(db, "node-a", "paused = true")

    assert db.run("breaker_close", server_id="node-a") == []
    assert sql(db, f"SELECT paused FROM {db.names['nodes']}") == [{"paused": True}]


@pytest.mark.parametrize("name", PROBES)
def test_a_node_takes_its_probe_by_its_own_row_where_another_has_its_boot(laned: Database, name: str) -> None:
    (id,) = files(laned, "a")
    node = boot(laned)
    boot(laned, "node-b")
    put_node(laned, "node-b", f"boot = '{node.boot}', epoch = {node.epoch}, state = 'draining'")
    opened(laned)

    assert (probe(laned, name)["id"], row(laned, id)["processing_server_id"]) == (id, "node-a")


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize(
    ("how", "said"), [("well", ("claimed", None)), ("soon", ("paused", 1)), ("stranger", ("deposed", 1))]
)
def test_who_asks_for_a_probe_hears_whether_it_has_it_may_ask_again_or_is_deposed(
    laned: Database, name: str, how: str, said: tuple[str, int | None]
) -> None:
    files(laned, "a")
    boot(laned)
    opened(laned, due=how != "soon")

    answer = probe(laned, name, **({"boot": STRANGER} if how == "stranger" else {}))

    assert (answer["outcome"], answer["next_seconds"]) == said


@pytest.mark.parametrize("name", PROBES)
def test_a_file_that_is_not_due_is_no_probe_although_it_was_never_tried(laned: Database, name: str) -> None:
    boot(laned)
    (tried,) = files(laned, "tried", processing_attempt=1)
    files(laned, "later", processing_queued_at="2100-01-01")
    opened(laned)

    assert probe(laned, name)["id"] == tried
