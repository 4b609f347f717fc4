"""What a cleanup says of each claim that it ends, and that it says so once; what a look sees of a node's own claims."""

from __future__ import annotations

import pytest

from opskit.database import Database
from opskit.queue import claims
from tests.queue.test_reaping_rules import dead, node_row
from tests.support.cleaning import cleanup, ended, foreign, lease_ended
from tests.support.tables import attempts, boot, claimed, put, put_node, row, states_kept

TIMEOUT = "Processing timeout: no progress"


def ends(db: Database, verdict: str) -> str:
    """A claim that a cleanup ends for this reason."""
    if verdict == "stale":
        return foreign(db, "2 hours")
    id, token = claimed(db, stale_after_seconds=600.0)
    if verdict == "dead":
        dead(db)
    elif verdict == "rebooted":
        put_node(db, "node-a", "first_epoch = epoch + 1, epoch = epoch + 1")
    else:
        put(db, id, "processing_started_at = now() - interval '11 minutes'")
        put_node(db, "node-a", f"stale_token = '{token}', stale_at = now() - interval '1 hour'")
    return id


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize(
    ("verdict", "outcome", "begins", "error"),
    [
        ("stale", "timeout", TIMEOUT, TIMEOUT),
        ("hung", "timeout", TIMEOUT, TIMEOUT),
        ("rebooted", "orphaned", "Orphaned: node-a has started again", "Orphaned: its node has started again"),
        ("dead", "orphaned", "Orphaned: node-a has been silent", "Orphaned: its node has been silent"),
    ],
)
def test_the_end_of_a_claim_says_why_in_its_row_its_attempt_and_the_answer(
    db: Database, verdict: str, outcome: str, begins: str, error: str, cancelled: bool
) -> None:
    id = ends(db, verdict)
    if cancelled and verdict != "stale":
        put_node(db, "node-a", f"cancel_token = '{row(db, id)['processing_token']}'")
        outcome, begins, error = "cancelled", "Cancelled: asked for while node-a held it", "Cancelled"

    (answer,) = cleanup(db).ended

    (event,) = attempts(db, id)
    assert (answer["verdict"], event["outcome"], event["details"]["error"]) == (verdict, outcome, error)
    assert row(db, id)["processing_failure"]["error"] == error
    for said in (answer["reason"], event["reason"], row(db, id)["processing_errors"]):
        assert said.startswith(begins)


def test_each_claim_that_a_cleanup_ends_is_answered_once_and_is_one_attempt(db: Database) -> None:
    ids = [foreign(db, "3 hours", token=False), foreign(db, "2 hours", token=False)]

    assert ended(cleanup(db)) == [(id, "stale", "failed") for id in ids]
    assert [len(attempts(db, id)) for id in ids] == [1, 1]


def test_what_is_pending_says_whether_a_second_look_or_a_trigger_is_in_the_way(db: Database) -> None:
    silent, _ = claimed(db)
    lease_ended(db, "node-a")
    stuck, _ = claimed(db, "node-b", stale_after_seconds=600.0)
    put(db, stuck, "processing_started_at = now() - interval '11 minutes'")
    kept = foreign(db, "2 hours", token=False)
    states_kept(db)

    assert {one["id"]: one["reason"] for one in cleanup(db).pending} == {
        silent: "its lease has run out; a second look must see the same",
        stuck: "it makes no progress; a second look must see the same",
        kept: "it should end, and a trigger or rule of the table does not let its row be changed",
    }


# -- looks -------------------------------------------------------------------------------------


def test_a_look_sees_a_nodes_own_claim_of_its_own_boot_that_it_works_on(db: Database) -> None:
    held, token = claimed(db, stale_after_seconds=600.0)
    boot(db, "idle")
    earlier, _ = claimed(db, "rebooted", stale_after_seconds=600.0)
    put_node(db, "rebooted", "first_epoch = epoch + 1, epoch = epoch + 1")
    done, its = claimed(db, "done", stale_after_seconds=600.0)
    claims.complete(db, id=done, token=its)
    for id in (held, earlier, done):
        put(db, id, "processing_started_at = now() - interval '11 minutes'")
    foreign(db, "2 hours", token=False, server_id="idle")

    assert [one["server_id"] for one in db.run("look")] == ["node-a"]
    assert {name: node_row(db, name)["stale_token"] for name in ("idle", "rebooted", "done")} == dict.fromkeys(
        ("idle", "rebooted", "done")
    )
    assert str(node_row(db)["stale_token"]) == token


def test_a_claim_that_moves_again_is_forgotten_with_the_time_of_the_look(db: Database) -> None:
    id, token = claimed(db, stale_after_seconds=600.0)
    put_node(db, "node-a", f"stale_token = '{token}', stale_at = '2020-01-01'")

    assert len(db.run("look")) == 1
    assert (node_row(db)["stale_token"], node_row(db)["stale_at"]) == (None, None)
    assert row(db, id)["processing_status"] == "processing"


def test_a_lease_that_lasts_is_not_written_down_where_a_claim_is(db: Database) -> None:
    id, _ = claimed(db, stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")

    assert len(db.run("look")) == 1
    assert (node_row(db)["looked_lease"], node_row(db)["looked_at"]) == (None, None)
