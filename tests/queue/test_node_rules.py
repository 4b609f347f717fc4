"""Which nodes are registered, paused, resumed, forgotten and pruned, and which are not: each condition at its edge."""

from __future__ import annotations

import math
from typing import Any

import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import nodes
from opskit.queue.server_id import Boot
from tests.support.tables import application, boot, claimed, files, put, put_node, run

STRANGER = "00000000-0000-0000-0000-000000000007"


def ask(db: Database, what: str, table: str, order: str = "1") -> list[dict[str, Any]]:
    with application(db.settings) as own:
        return run(own, f"SELECT {what} FROM {db.names[table]} ORDER BY {order}")


def fleet_is(db: Database) -> dict[str, dict[str, Any]]:
    """The nodes' rows by their names."""
    return {one["server_id"]: one for one in ask(db, "*", "nodes")}


def paused(db: Database, scope: str) -> None:
    """A pause that stands in the table and on no node's row, as an older version writes it."""
    with application(db.settings) as own:
        run(own, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('{scope}', 'me', '')")


# -- registering -------------------------------------------------------------------------------


def register(db: Database, server_id: str, given: str) -> Boot | None:
    return nodes.register(db, server_id, given)


def test_a_node_without_a_row_begins_above_what_its_own_name_still_holds(db: Database) -> None:
    done, held, other = files(db, "done", "held", "other")
    claim = "processing_started_at = now(), processing_token = gen_random_uuid()"
    put(db, held, f"processing_status = 'processing', processing_server_id = 'node-a', processing_epoch = 4, {claim}")
    put(db, other, f"processing_status = 'processing', processing_server_id = 'node-b', processing_epoch = 7, {claim}")
    put(db, done, f"processing_status = 'processing', processing_server_id = 'node-a', processing_epoch = 9, {claim}")
    put(db, done, "processing_status = 'completed', processing_done_token = processing_token")

    node = register(db, "node-a", STRANGER)

    assert node is not None
    assert node.epoch == 5
    assert fleet_is(db)["node-a"]["first_epoch"] == 5


@pytest.mark.parametrize(("scope", "stands"), [("*", True), ("node-a", True), ("node-b", False)])
def test_a_node_that_registers_is_paused_by_a_pause_of_its_own_or_of_all(
    db: Database, scope: str, stands: bool
) -> None:
    paused(db, scope)
    boot(db, "node-a")

    assert fleet_is(db)["node-a"]["paused"] is stands


@pytest.mark.parametrize("closed", [True, False])
def test_a_node_that_registers_is_paused_by_a_breaker_that_is_open(db: Database, closed: bool) -> None:
    with application(db.settings) as own:
        run(
            own,
            f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason, closed_at) "
            f"VALUES (' breaker', 'breaker', 'a', '', {'now()' if closed else 'NULL'})",
        )
    node = boot(db, "node-a")
    registered = fleet_is(db)["node-a"]["paused"]
    nodes.heartbeat(db, node)

    assert (registered, fleet_is(db)["node-a"]["paused"]) == (not closed, not closed)


def test_a_name_that_is_alive_is_given_to_the_same_boot_alone_and_each_time_above_its_epoch(db: Database) -> None:
    node = boot(db, "node-a")

    assert register(db, "node-a", STRANGER) is None
    again = register(db, "node-a", node.boot)
    assert again is not None
    assert again.epoch == node.epoch + 1
    assert fleet_is(db)["node-a"]["first_epoch"] == again.epoch


# -- heartbeats --------------------------------------------------------------------------------


@pytest.mark.parametrize(("scope", "stands"), [("*", True), ("node-a", True), ("node-b", False)])
def test_a_heartbeat_learns_of_a_pause_of_its_own_or_of_all(db: Database, scope: str, stands: bool) -> None:
    node = boot(db, "node-a")
    paused(db, scope)
    nodes.heartbeat(db, node)

    assert fleet_is(db)["node-a"]["paused"] is stands


def test_a_heartbeat_tells_what_it_holds_and_whether_others_hold_something(db: Database) -> None:
    _, token = claimed(db, "node-a")
    node = Boot("node-a", str(fleet_is(db)["node-a"]["boot"]), 1)

    def beat(token: str) -> tuple[bool, bool]:
        found = nodes.heartbeat(db, node, token=token)
        assert found is not None
        return found.holds, found.others

    assert (beat(token), beat(STRANGER)) == ((True, False), (False, True))
    claimed(db, "node-b")
    assert beat(token) == (True, True)


# -- pause and resume --------------------------------------------------------------------------


def test_a_pause_of_one_node_is_written_to_its_own_row_alone(db: Database) -> None:
    boot(db, "node-a"), boot(db, "node-b")
    queue.pause(db, "node-a", actor="me")

    assert {name: one["paused"] for name, one in fleet_is(db).items()} == {"node-a": True, "node-b": False}
    queue.pause(db, "*", actor="me")
    assert {one["paused"] for one in fleet_is(db).values()} == {True}


def test_a_resume_of_one_node_leaves_the_others_and_the_breaker(db: Database) -> None:
    boot(db, "node-a"), boot(db, "node-b")
    for name in ("node-a", "node-b"):
        put_node(db, name, "state = 'quarantined', paused = true")
        paused(db, name)
    with application(db.settings) as own:
        run(
            own,
            f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason) VALUES (' breaker', 'breaker', 'a', '')",
        )

    queue.resume(db, "node-a", actor="me")

    found = fleet_is(db)
    assert [(found[name]["state"], found[name]["paused"]) for name in ("node-a", "node-b")] == [
        ("active", None), ("quarantined", True),
    ]  # fmt: skip
    assert [one["scope"] for one in ask(db, "scope", "pauses")] == [" breaker", "node-b"]


def test_a_resume_of_all_ends_the_pause_of_all_every_quarantine_and_the_breaker_once(db: Database) -> None:
    boot(db, "node-a"), boot(db, "node-b")
    put_node(db, "node-b", "state = 'quarantined'")
    put_node(db, "node-a", "state = 'draining'")
    paused(db, "*"), paused(db, "node-a")
    with application(db.settings) as own:
        run(
            own,
            f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason, closed_at) "
            "VALUES (' breaker', 'breaker', 'a', 'it broke', now())",
        )

    queue.resume(db, "*", actor="me")

    assert [one["scope"] for one in ask(db, "scope", "pauses")] == ["node-a"]
    found = fleet_is(db)
    assert [(found[name]["state"], found[name]["paused"]) for name in ("node-a", "node-b")] == [
        ("draining", True), ("active", None),
    ]  # fmt: skip
    # The breaker was closed already: nobody closed it a second time; a node that was not ill is not cured.
    told = [(one["kind"], one["server_id"]) for one in ask(db, "kind, server_id", "events", "id")]
    assert sorted(one for one in told if one[0] in ("resume", "breaker")) == [("resume", "*"), ("resume", "node-b")]


# -- rest --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["state = 'draining'", "lease_until = now() - interval '1 s'", "stopped_at = now()",
                                    "paused", "streak_at = now() - interval '1 minute'"])  # fmt: skip
def test_of_the_nodes_that_claim_those_count_that_fare_badly_now(db: Database, change: str) -> None:
    first, second, _third = boot(db, "a"), boot(db, "b"), boot(db, "c")
    db.run("rest", server_id="b", boot=second.boot, streak_seconds=1)
    db.run("rest", server_id="a", boot=first.boot, streak_seconds=1)

    def shared() -> bool:
        return bool(db.one("rest", server_id="a", boot=first.boot, streak_seconds=1)["shared"])

    assert shared(), "two of three fare badly"
    if change == "paused":
        paused(db, "b")
    else:
        put_node(db, "b", change)
    assert not shared(), "only one of those that claim does"


def test_a_node_alone_does_not_fare_as_others_do(db: Database) -> None:
    node = boot(db, "a")

    assert not db.one("rest", server_id="a", boot=node.boot, streak_seconds=1)["shared"]


# -- what goes ---------------------------------------------------------------------------------


def test_nodes_are_forgotten_that_are_named_and_gone_and_hold_nothing(db: Database) -> None:
    for name in ("alive", "stopped", "silent", "unnamed"):
        boot(db, name)
    claimed(db, "holding")
    put_node(db, "stopped", "stopped_at = now()")
    put_node(db, "silent", "lease_until = now() - interval '1 s'")
    put_node(db, "unnamed", "lease_until = now() - interval '1 s'")
    put_node(db, "holding", "lease_until = now() - interval '1 s'")
    (ended,) = files(db, "ended")
    put(db, ended, "processing_status = 'failed', processing_server_id = 'silent'")

    assert queue.forget(db, ["alive", "stopped", "silent", "holding"], actor="me") == ["silent", "stopped"]
    assert list(fleet_is(db)) == ["alive", "holding", "unnamed"]


def test_what_is_old_and_not_needed_is_pruned(db: Database) -> None:
    for name in ("new", "old"):
        boot(db, name)
    claimed(db, "holding")
    put_node(db, "old", "lease_until = now() - interval '8 days'")
    put_node(db, "new", "lease_until = now() - interval '6 days'")
    put_node(db, "holding", "lease_until = now() - interval '8 days'")
    (ended,) = files(db, "ended")
    put(db, ended, "processing_status = 'failed', processing_server_id = 'old'")
    with application(db.settings) as own:
        run(own, f"DELETE FROM {db.names['events']}")
        for kind, days in (("attempt", 91), ("attempt", 89), ("migrate", 400), ("watch", 400)):
            run(
                own,
                f"INSERT INTO {db.names['events']} (kind, at) VALUES ('{kind}', now() - interval '{days} days')",
            )
        for sequence, days in ((1, 15), (2, 13)):
            run(
                own,
                f"INSERT INTO {db.names['logs']} (token, sequence, at, size, text) "
                f"VALUES ('{STRANGER}', {sequence}, now() - interval '{days} days', 1, 'a')",
            )

    gone = db.one("prune", node_days=7, event_days=90, log_days=14)

    assert (gone["nodes"], gone["events"], gone["logs"]) == (1, 1, 1)
    assert list(fleet_is(db)) == ["holding", "new"]
    assert sorted(one["kind"] for one in ask(db, "kind", "events")) == ["attempt", "migrate", "watch"]
    assert [one["sequence"] for one in ask(db, "sequence", "logs")] == [2]


@pytest.mark.parametrize("days", [-1.0, math.nan, math.inf, 1e9])
@pytest.mark.parametrize("name", ["node_days", "event_days", "log_days"])
def test_a_prune_by_no_number_of_days_drops_nothing(db: Database, name: str, days: float) -> None:
    queue.pause(db, actor="ann")
    events = len(stats.events(db))

    with pytest.raises(SettingError) as refused:
        queue.prune(db, **{name: days})

    assert str(refused.value) == f"{name} is {days:g}; it must be between 0 and 36,500 days"
    assert len(stats.events(db)) == events > 0
