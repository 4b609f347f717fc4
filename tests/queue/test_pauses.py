"""Pauses: of one node, of all nodes, and those that an older version wrote."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from opskit import queue
from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from tests.support.nodes import until
from tests.support.promises import events, waiting
from tests.support.tables import boot, claim, claimed, files, run


def goes_on(db: Database, node: Boot, held: claims.Answer) -> claims.Answer | None:
    """Complete the file in hand and claim the next."""
    assert held.row is not None
    return claims.complete_and_claim(
        db, node, id=held.row["id"], done_token=held.token, result=None, after="-infinity", token=claims.new_token()
    )


def test_a_pause_written_by_an_older_version_holds_from_the_next_claim_or_heartbeat_on(db: Database) -> None:
    files(db, "a", "b", "c")
    node = boot(db, lease_seconds=600.0)
    held = claim(db, node)
    with db.connection() as connection:
        run(connection, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('*', 'older', 'disk full')")

    told = nodes.heartbeat(db, node)

    assert told is not None
    assert told.paused
    assert goes_on(db, node, held) is None
    assert claims.complete(db, id=held.row["id"] if held.row else "", token=held.token) == "done"
    assert claims.claim(db, node).outcome == "paused"


def test_a_node_that_registers_under_a_pause_is_paused_and_each_pause_ends_by_itself(db: Database) -> None:
    files(db, "a", "b", "c")
    queue.pause(db, actor="test")
    node = boot(db, lease_seconds=600.0)
    queue.pause(db, "node-a", actor="test")

    def is_paused() -> bool:
        with db.connection() as connection:
            return bool(run(connection, f"SELECT paused FROM {db.names['nodes']}")[0]["paused"])

    registered = is_paused()
    queue.resume(db, actor="test")
    by_name = is_paused()
    outcome = claims.claim(db, node).outcome
    queue.resume(db, "node-a", actor="test")
    held = claim(db, node)
    nodes.heartbeat(db, node, token=held.token)

    assert (registered, by_name, outcome, is_paused()) == (True, True, "paused", False)
    assert goes_on(db, node, held) is not None


def test_a_pause_holds_although_a_heartbeat_that_has_not_seen_it_waited_for_it(db: Database) -> None:
    files(db, "a", "b")
    node = boot(db, lease_seconds=600.0)
    held = claim(db, node)

    with ThreadPoolExecutor(1) as pool:
        with db.connection() as connection, connection.transaction():
            db.run_on(connection, "pause", scope="*", actor="test", reason="")
            late = pool.submit(lambda: nodes.heartbeat(db, node, token=held.token))
            until(lambda: waiting(db))
        told = late.result(10)

    assert told is not None
    assert not told.paused
    assert goes_on(db, node, held) is None


@pytest.mark.parametrize(("scope", "stopped"), [("node-a", {"node-a"}), ("*", {"node-a", "node-b"})])
def test_a_pause_stops_one_node_or_all_and_is_noted_once(db: Database, scope: str, stopped: set[str]) -> None:
    files(db, "a", "b")
    both = [boot(db, "node-a"), boot(db, "node-b")]

    changed = [queue.pause(db, scope, actor="me", reason="disk full") for _ in range(2)]
    outcomes = {node.server_id: claims.claim(db, node).outcome for node in both}
    beats = {node.server_id: beat.paused for node in both if (beat := nodes.heartbeat(db, node))}
    resumed = [queue.resume(db, scope, actor="me", reason="grown") for _ in range(2)]

    assert (list(map(bool, changed)), list(map(bool, resumed))) == ([True, False], [True, False])
    assert {name for name, outcome in outcomes.items() if outcome == "paused"} == stopped
    assert {name for name, paused in beats.items() if paused} == stopped
    assert [(event["server_id"], event["actor"], event["reason"]) for event in events(db, "pause")] == [
        (scope, "me", "disk full")
    ]
    assert len(events(db, "resume")) == 1
    for node in both:
        if node.server_id in stopped:
            assert claims.claim(db, node).outcome == "claimed"


def test_the_end_of_the_pause_of_all_leaves_a_node_paused_that_was_paused_by_name(db: Database) -> None:
    files(db, "a")
    node = boot(db)
    queue.pause(db, "*", actor="me")
    queue.pause(db, "node-a", actor="me")

    queue.resume(db, "*", actor="me")

    assert claims.claim(db, node).outcome == "paused"


def test_a_pause_does_not_touch_work_in_hand(db: Database) -> None:
    id, token = claimed(db)

    queue.pause(db, actor="me")

    assert claims.complete(db, id=id, token=token) == "done"
