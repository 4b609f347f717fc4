"""Which claims a cleanup ends, which it only suspects, and whose sessions it ends: each condition at its edge."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from opskit.database import Database
from tests.support.cleaning import cleanup, ended, foreign, lease_ended
from tests.support.tables import application, attempts, boot, claimed, files, put, put_node, row, run, states_kept


def node_row(db: Database, server_id: str = "node-a") -> dict[str, Any]:
    with application(db.settings) as own:
        return run(own, f"SELECT * FROM {db.names['nodes']} WHERE server_id = '{server_id}'")[0]


def pending(db: Database, **given: Any) -> list[tuple[str, str]]:
    return [(one["id"], one["verdict"]) for one in cleanup(db, **given).pending]


def dead(db: Database, server_id: str = "node-a") -> None:
    """A lease that has run out, as a look has seen long ago."""
    lease_ended(db, server_id)
    put_node(db, server_id, "looked_lease = lease_until, looked_at = now() - interval '1 hour'")


def judged(db: Database) -> dict[str, str]:
    """The verdicts of the statement alone, before which nobody takes a look."""
    found = db.run(
        "cleanup", stale_after_seconds=3600, look_seconds=2, claims=[], server_id="", row_limit=9, actor="a", reason=""
    )
    return {one["id"]: one["verdict"] for one in found}


# -- claims ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["never looked", "another lease", "just now", "long ago"])
def test_a_silent_nodes_claim_ends_when_an_older_look_saw_the_same_lease(db: Database, how: str) -> None:
    id, _ = claimed(db)
    lease_ended(db, "node-a")
    seen = {"never looked": "looked_lease = NULL, looked_at = NULL",
            "another lease": "looked_lease = lease_until - interval '1 s', looked_at = now() - interval '1 hour'",
            "just now": "looked_lease = lease_until, looked_at = now()",
            "long ago": "looked_lease = lease_until, looked_at = now() - interval '1 hour'"}  # fmt: skip
    put_node(db, "node-a", seen[how])

    assert judged(db) == {id: "dead" if how == "long ago" else "silent"}
    assert row(db, id)["processing_status"] == ("queued" if how == "long ago" else "processing")


@pytest.mark.parametrize("how", ["another claim", "just now", "long ago"])
def test_a_stuck_claim_ends_when_an_older_look_saw_the_same_claim_stuck(db: Database, how: str) -> None:
    id, token = claimed(db, stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")
    other = "gen_random_uuid()" if how == "another claim" else f"'{token}'"
    ago = "0 s" if how == "just now" else "1 hour"
    put_node(db, "node-a", f"stale_token = {other}, stale_at = now() - interval '{ago}'")

    assert judged(db) == {id: "hung" if how == "long ago" else "stuck"}
    assert row(db, id)["processing_status"] == ("failed" if how == "long ago" else "processing")


def test_each_claim_is_judged_by_its_owners_patience_and_one_without_an_owner_by_the_callers(db: Database) -> None:
    patient, _ = claimed(db, "patient", stale_after_seconds=7200.0)
    put(db, patient, "processing_started_at = now() - interval '90 minutes'")
    put_node(db, "patient", "stale_at = now() - interval '1 hour'")
    foreign(db, "20 minutes")

    assert (ended(cleanup(db)), pending(db)) == ([], [])
    with Database(dataclasses.replace(db.settings, stale_after_seconds=600.0)) as hasty:
        assert [verdict for _, verdict, _ in ended(cleanup(hasty))] == ["stale"]


def test_a_claim_without_a_token_is_no_orphan_of_a_node_with_its_servers_name(db: Database) -> None:
    boot(db, "node-a")
    dead(db)
    foreign(db, "5 minutes", token=False, server_id="node-a")
    old = foreign(db, "2 hours", token=False, server_id="node-a")

    assert ended(cleanup(db)) == [(old, "stale", "failed")]


def test_progress_counts_that_its_node_has_told_of_this_claim(db: Database) -> None:
    id, token = claimed(db, stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")
    put_node(db, "node-a", "token = gen_random_uuid(), progress_at = now()")
    assert pending(db) == [(id, "stuck")]
    assert str(node_row(db)["stale_token"]) == token
    put_node(db, "node-a", f"token = '{token}', progress_at = now()")

    assert pending(db) == []
    assert node_row(db)["stale_token"] is None


def test_a_cleanup_ends_the_claims_that_are_named_as_they_were_seen(db: Database) -> None:
    ids = [foreign(db, "2 hours", token=False), foreign(db, "2 hours", token=False, server_id="other")]
    id, token = claimed(db)
    dead(db)

    assert ended(cleanup(db, claims=[f"{id}/moved"])) == []
    assert ended(cleanup(db, claims=[f"{id}/{token}"])) == [(id, "dead", "queued")]
    assert ended(cleanup(db, server_id="other")) == [(ids[1], "stale", "failed")]
    assert ended(cleanup(db)) == [(ids[0], "stale", "failed")]


def test_a_cleanup_ends_the_oldest_claims_up_to_its_limit(db: Database) -> None:
    younger, older = foreign(db, "2 hours", token=False), foreign(db, "3 hours", token=False)

    assert ended(cleanup(db, limit=1)) == [(older, "stale", "failed")]
    assert row(db, younger)["processing_status"] == "processing"


def test_a_cleanup_passes_over_a_row_that_another_session_has_locked(db: Database) -> None:
    locked, free = foreign(db, "3 hours", token=False), foreign(db, "2 hours", token=False)
    values = {
        "stale_after_seconds": 3600, "look_seconds": 2, "claims": [], "server_id": "", "row_limit": 9, "actor": "a",
        "reason": "",
    }  # fmt: skip
    with application(db.settings) as other, other.transaction():
        run(other, f"SELECT 1 FROM {db.settings.files} WHERE id = {locked} FOR UPDATE")
        with db.connection() as connection:
            connection.execute("SET lock_timeout = '700ms'")
            found = db.run_on(connection, "cleanup", **values)

    assert [one["id"] for one in found] == [free]


@pytest.mark.parametrize("given", ["cancelled", "policy", "budget", "none"])
def test_an_orphan_fails_that_was_cancelled_or_may_not_run_again(db: Database, given: str) -> None:
    id, token = claimed(db, max_failures=3, on_orphan="fail" if given == "policy" else "requeue")
    put(db, id, f"processing_failures = {2 if given == 'budget' else 1}")
    other = "gen_random_uuid()" if given == "none" else f"'{token}'" if given == "cancelled" else "NULL"
    dead(db)
    put_node(db, "node-a", f"cancel_token = {other}")

    assert ended(cleanup(db)) == [(id, "dead", "queued" if given == "none" else "failed")]
    failures = {"cancelled": 1, "policy": 2, "budget": 3, "none": 2}
    assert row(db, id)["processing_failures"] == failures[given]
    assert row(db, id)["processing_failure"].get("cancelled", False) is (given == "cancelled")


def test_what_a_trigger_of_the_table_keeps_is_pending_and_no_attempt(db: Database) -> None:
    id = foreign(db, "2 hours", token=False)
    states_kept(db)

    done = cleanup(db)

    assert ([one["id"] for one in done.pending], done.ended, attempts(db, id)) == ([id], [], [])


# -- looks -------------------------------------------------------------------------------------


def test_a_look_is_written_down_once_for_each_lease_that_has_run_out(db: Database) -> None:
    boot(db, "alive"), boot(db, "node-a")
    lease_ended(db, "node-a")
    names = [[one["server_id"] for one in db.run("look")] for _ in range(2)]
    first = node_row(db)
    put_node(db, "node-a", "looked_at = looked_at - interval '1 hour'")
    db.run("look")

    assert names == [["node-a"], []]
    assert first["looked_lease"] == first["lease_until"]
    assert node_row(db)["looked_at"] < first["looked_at"]
    assert node_row(db, "alive")["looked_lease"] is None


def test_a_look_at_a_claim_that_does_not_move_keeps_when_it_was_first_seen(db: Database) -> None:
    id, token = claimed(db, stale_after_seconds=600.0)
    assert db.run("look") == []
    put(db, id, "processing_started_at = now() - interval '11 minutes'")
    put_node(db, "node-a", f"stale_token = '{token}', stale_at = '2020-01-01', looked_at = now()")
    lease_ended(db, "node-a")  # so that there is something else to write down

    db.run("look")

    assert (str(node_row(db)["stale_token"]), node_row(db)["stale_at"].year) == (token, 2020)


@pytest.mark.parametrize("alive", [True, False])
def test_a_look_at_a_claim_that_does_not_move_is_none_at_its_nodes_lease(db: Database, alive: bool) -> None:
    id, token = claimed(db, stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")
    put_node(db, "node-a", f"looked_at = '2020-01-01', looked_lease = {'NULL' if alive else 'lease_until'}")
    if not alive:
        dead(db)
        put_node(db, "node-a", "looked_at = '2020-01-01'")
    before = node_row(db)

    assert len(db.run("look")) == 1

    found = node_row(db)
    assert str(found["stale_token"]) == token
    assert (found["looked_lease"], found["looked_at"]) == (before["looked_lease"], before["looked_at"])


# -- sessions ----------------------------------------------------------------------------------


@contextlib.contextmanager
def session(db: Database, boot: str, server_id: str, env: str = "development") -> Iterator[psycopg.Connection[Any]]:
    """A session of a node's child that has its table locked."""
    name = f"opskit {env} {boot[:8]} {server_id}"[:63]
    with contextlib.closing(psycopg.connect(db.settings.database_url or "", application_name=name)) as own:
        own.execute(f"LOCK TABLE {db.settings.files} IN ROW SHARE MODE".encode())
        yield own


def evicted(db: Database, **given: Any) -> int:
    return len(db.run("evict", env="development", **{"look_seconds": 2, **given}))


@pytest.mark.parametrize("how", ["dead", "alive again", "never looked", "another lease", "just now", "other"])
def test_the_sessions_of_a_boot_end_whose_lease_has_run_out_as_a_look_has_seen(db: Database, how: str) -> None:
    node = boot(db, "node-a")
    other = boot(db, "node-b")
    dead(db, "node-b" if how == "other" else "node-a")
    changes = {"alive again": "lease_until = now() + interval '1 hour', looked_lease = now() + interval '1 hour'",
               "never looked": "looked_lease = NULL", "just now": "looked_at = now()",
               "another lease": "looked_lease = looked_lease - interval '1 s'"}  # fmt: skip
    if how in changes:
        put_node(db, "node-a", changes[how])

    with session(db, node.boot, "node-a"), session(db, other.boot, "node-b"):
        assert evicted(db) == (how in ("dead", "other"))


def test_a_nodes_look_is_a_third_of_its_lease_old(db: Database) -> None:
    node = boot(db, "node-a", lease_seconds=60.0)
    dead(db)
    put_node(db, "node-a", "looked_at = now() - interval '19 seconds'")
    with session(db, node.boot, "node-a"):
        assert evicted(db, look_seconds="") == 0
        put_node(db, "node-a", "looked_at = now() - interval '21 seconds'")
        assert evicted(db, look_seconds="") == 1


@pytest.mark.parametrize("name", ["node-a", "node-" + "a" * 90])
def test_the_sessions_of_a_boot_end_that_another_has_replaced(db: Database, name: str) -> None:
    node = boot(db, name)
    with session(db, node.boot, name), session(db, "0" * 8, "node-b"), session(db, "0" * 8, "node"):
        assert evicted(db) == 0, "it is the boot that is there, and of the others no node has the name"
        with session(db, "f" * 8, name):
            assert evicted(db) == 1
        with session(db, "f" * 8, name, env="production"):
            assert evicted(db) == 0


def test_claims_of_files_that_are_queued_or_have_ended_are_left_alone(db: Database) -> None:
    queued, done = files(db, "a", "b")
    for id, status in ((queued, "queued"), (done, "failed")):
        put(db, id, f"processing_status = '{status}', processing_server_id = 'gone', "
                    "processing_started_at = now() - interval '2 hours'")  # fmt: skip

    assert (ended(cleanup(db)), pending(db)) == ([], [])
