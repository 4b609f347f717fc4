"""Registering a node: its name, its epoch, its orphans, and its end."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError, DatabaseError
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from tests.support.nodes import until
from tests.support.promises import events, waiting
from tests.support.tables import application, attempts, boot, claimed, files, put_node, rows, run

# -- registering, epochs ---------------------------------------------------------------------


@pytest.mark.parametrize("action", ["advance", "register"])
def test_raising_the_epoch_waits_for_a_claim_in_flight_and_deposes_the_next(db: Database, action: str) -> None:
    files(db, "a", "b")
    node = boot(db)
    values = {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch, "after": "-infinity"}

    with ThreadPoolExecutor(1) as pool:
        with db.connection() as connection, connection.transaction():
            (in_flight,) = db.run_on(connection, "claim", token=uuid.uuid4(), **values)
            if action == "register":
                put_node(db, "node-a", "lease_until = now() - interval '1 second'")
            raising = pool.submit(lambda: nodes.advance(db, node) if action == "advance" else boot(db, "node-a").epoch)
            until(lambda: waiting(db) == 1)
            assert not raising.done()
        raised = raising.result(10)

    late = claims.claim(db, node)
    assert in_flight["outcome"] == "claimed"
    assert raised == node.epoch + 1
    assert late.outcome == "deposed"
    assert [held["id"] for held in claims.held(db, "node-a")] == [in_flight["id"]]


def test_a_claim_after_the_epoch_was_raised_waits_and_is_deposed(db: Database) -> None:
    files(db, "a")
    node = boot(db)

    with ThreadPoolExecutor(1) as pool:
        with db.connection() as connection, connection.transaction():
            db.run_on(connection, "advance", server_id=node.server_id, boot=node.boot)
            late = pool.submit(claims.claim, db, node)
            until(lambda: waiting(db) == 1)

        assert late.result(10).outcome == "deposed"


def test_an_epoch_that_is_raised_disowns_nothing(db: Database) -> None:
    id, _ = claimed(db)
    (held,) = claims.held(db, "node-a")
    node = Boot("node-a", str(rows_of_nodes(db)[0]["boot"]), held["epoch"])

    raised = nodes.advance(db, node)
    (verdict,) = queue.preview(db, every=True)

    assert raised == node.epoch + 1
    assert (verdict["verdict"], verdict["id"]) == ("alive", id)
    assert nodes.advance(db, Boot("node-a", str(uuid.uuid4()), 1)) is None


def rows_of_nodes(db: Database) -> list[dict[str, Any]]:
    with db.connection() as connection:
        return rows(connection, db.names["nodes"])


def test_a_server_id_is_refused_while_it_is_alive_and_taken_over_after_its_lease(db: Database) -> None:
    first = boot(db, lease_seconds=30.0)
    refused = nodes.register(db, "node-a", str(uuid.uuid4()))
    holder = nodes.alive(db, "node-a")

    put_node(db, "node-a", "lease_until = now() - interval '1 second'")
    second = boot(db)

    assert refused is None
    assert holder is not None
    assert str(holder["boot"]) == first.boot
    assert 0 < holder["lease_left_seconds"] <= 30
    assert second.epoch > first.epoch
    assert nodes.heartbeat(db, first) is None
    assert nodes.heartbeat(db, second) is not None
    assert [event["boot"] for event in events(db, "boot")] == [uuid.UUID(first.boot), uuid.UUID(second.boot)]


def test_a_registration_whose_answer_was_lost_can_be_repeated(db: Database) -> None:
    first = boot(db)

    again = nodes.register(db, "node-a", first.boot)

    assert again is not None
    assert again.boot == first.boot


def test_a_node_that_said_good_bye_frees_its_name_at_once(db: Database) -> None:
    first = boot(db, lease_seconds=600.0)

    nodes.deregister(db, first, "done")

    assert nodes.register(db, "node-a", str(uuid.uuid4())) is not None
    assert [event["reason"] for event in events(db, "stop")] == ["done"]


def test_the_claim_of_an_earlier_boot_is_an_orphan_at_once(db: Database) -> None:
    id, token = claimed(db)
    put_node(db, "node-a", "lease_until = now() - interval '1 second'")
    boot(db)

    done = queue.cleanup(db, actor="test")

    assert [(each["id"], each["verdict"], each["outcome"]) for each in done.ended] == [(id, "rebooted", "queued")]
    assert done.pending == []
    assert "started again" in attempts(db, id)[0]["reason"]
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)


def test_a_quarantine_outlives_a_restart_and_ends_by_resume(db: Database) -> None:
    files(db, "a")
    node = boot(db)
    put_node(db, "node-a", "state = 'quarantined'")
    nodes.deregister(db, node, "done")
    node = boot(db)

    quarantined = claims.claim(db, node)
    changed = queue.resume(db, "node-a", actor="test")

    assert (quarantined.outcome, bool(changed)) == ("paused", True)
    assert claims.claim(db, node).outcome == "claimed"


def test_silent_nodes_and_old_events_are_pruned_but_not_a_node_that_holds_a_file(db: Database) -> None:
    claimed(db, "holder")
    for name in ("old", "recent"):
        boot(db, name)
    put_node(db, "holder", "lease_until = now() - interval '30 days'")
    put_node(db, "old", "lease_until = now() - interval '8 days'")
    put_node(db, "recent", "lease_until = now() - interval '6 days'")
    with db.connection() as connection:
        run(connection, f"UPDATE {db.names['events']} SET at = now() - interval '91 days' WHERE server_id = 'old'")

    gone = queue.prune(db)

    assert gone == {"nodes": 1, "events": 1, "logs": 0}
    assert {found["server_id"] for found in rows_of_nodes(db)} == {"holder", "recent"}


def test_the_database_of_a_node_that_may_not_write_says_so_in_one_sentence(db: Database) -> None:
    files(db, "a")
    node = boot(db)
    with application(db.settings) as connection:
        name = sql.Identifier(connection.info.dbname)
        run(connection, "ALTER DATABASE {} SET default_transaction_read_only = on", name)

    with Database(db.settings, pooled=False) as fresh, pytest.raises(DatabaseError) as refused:
        claims.claim(fresh, node)

    assert refused.value.sqlstate == "25006"
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert "\n" not in str(refused.value)


def test_a_node_whose_row_was_removed_does_not_take_what_it_held_for_its_own(db: Database) -> None:
    id, token = claimed(db)
    with application(db.settings) as connection:
        run(connection, f"UPDATE {db.settings.files} SET processing_epoch = 7 WHERE id = {id}")
        run(connection, f"DELETE FROM {db.names['nodes']}")

    again = boot(db)
    done = queue.cleanup(db, server_id="node-a", actor="test")

    assert again.epoch == 8
    assert [(each["id"], each["verdict"]) for each in done.ended] == [(id, "rebooted")]
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)
