"""Each statement of a node changes its own file and its own row, and says what has happened to these."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from opskit.database import Database
from opskit.queue import claims, nodes
from tests.queue.test_fences import GIVEN, STRANGER, ended
from tests.support.tables import application, attempts, boot, claimed, files, put, put_node, row, run


@pytest.mark.parametrize("name", GIVEN)
def test_an_attempt_is_ended_on_its_own_file_where_another_claim_has_its_token(db: Database, name: str) -> None:
    id, token = claimed(db)
    other, _ = claimed(db, "node-b")
    (idle,) = files(db, "idle")
    put(db, other, f"processing_token = '{token}'")
    before = {one: row(db, one) for one in (other, idle)}

    assert ended(db, name, id, token) in ("done", "queued", "failed")
    assert {one: row(db, one) for one in before} == before
    assert attempts(db, other) == attempts(db, idle) == []
    assert len(attempts(db, id)) == (name != "complete")


def test_a_result_is_stored_with_its_own_file_where_another_was_completed_under_its_token(db: Database) -> None:
    id, token = claimed(db)
    other, second = claimed(db, "node-b")
    for one, its in ((id, token), (other, second)):
        claims.complete(db, id=one, token=its, result=None)
    put(db, other, f"processing_token = '{token}', processing_done_token = '{token}'")

    assert claims.store_result(db, id=id, token=token, result={"rows": 1})
    assert (row(db, id)["processing_result"], row(db, other)["processing_result"]) == ({"rows": 1}, None)


@pytest.mark.parametrize("name", [name for name in GIVEN if name not in ("complete", "cancelled")])
def test_a_claim_that_is_lost_is_told_so_while_another_is_being_cancelled(db: Database, name: str) -> None:
    id, _ = claimed(db)
    _, token = claimed(db, "node-b")
    put_node(db, "node-b", f"cancel_token = '{token}'")

    assert ended(db, name, id, STRANGER) == "lost"


EARLIER = """processing_errors = 'earlier', processing_queued_at = '2020-01-01',
    processing_failure = jsonb_build_object('attempt', 1, 'error', 'earlier', 'place', '')"""


@pytest.mark.parametrize(
    ("name", "given", "status", "reason", "error"),
    [
        ("interrupt", {}, "queued", "away", "Interrupted"),
        ("interrupt", {"most": 0}, "queued", "away; interrupted 0 times before: this one counts as a failure",
         "Interrupted too often"),
        ("interrupt", {"most": 0, "max_failures": 1}, "failed",
         "away; interrupted 0 times before: this one counts as a failure", "Interrupted too often"),
        ("interrupt", {"max_failures": 1}, "queued", "away", "Interrupted"),
        ("interrupt", {"on_orphan": "fail"}, "failed",
         "away; its node queues no file a second time (on_orphan is fail)",
         "Interrupted: its node queues no file a second time"),
        ("defer", {}, "queued", "busy", None),
        ("defer", {"counted": True}, "queued", "busy", "Deferred"),
        ("defer", {"counted": True, "max_failures": 1}, "failed", "busy", "Deferred"),
        ("defer", {"most": 0}, "queued", "busy; deferred 0 times before: this one counts as a failure",
         "Deferred too often"),
        ("defer", {"max_failures": 1}, "queued", "busy", None),
    ],
)  # fmt: skip
def test_what_is_given_back_says_whether_it_counts_and_what_does_not_count_leaves_the_row_as_it_was(
    db: Database, name: str, given: dict[str, Any], status: str, reason: str, error: str | None
) -> None:
    id, token = claimed(db)
    put(db, id, EARLIER)
    counts = given.keys() != {"max_failures"} and bool(given)

    assert ended(db, name, id, token, **given) == status

    now, (event,) = row(db, id), attempts(db, id)
    assert (event["next_status"], event["reason"]) == (status, reason)
    assert (event["details"] or {}).get("error") == error
    assert now["processing_failures"] == int(counts)
    assert now["processing_errors"] == (reason if counts else "earlier")
    assert now["processing_failure"]["error"] == (error if counts else "earlier")
    kept = status == "failed" or (name == "interrupt" and not counts)
    assert (now["processing_queued_at"].year == 2020) == kept
    assert (now["processing_started_at"] is None) == (status == "queued")


NODE_STATEMENTS: dict[str, dict[str, Any]] = {
    "advance": {},
    "heartbeat": {"token": "", "progress_done": "", "progress_total": "", "progress_age_seconds": ""},
    "probe": {},
    "recover": {},
    "rest": {"streak_seconds": 1},
    "deregister": {"reason": "done"},
}


@pytest.mark.parametrize("name", NODE_STATEMENTS)
def test_a_node_changes_its_own_row_where_another_has_its_boot(db: Database, name: str) -> None:
    node = boot(db)
    boot(db, "node-b")
    for one in ("node-a", "node-b"):
        put_node(db, one, f"boot = '{node.boot}', state = 'quarantined'")

    def other() -> list[dict[str, Any]]:
        with application(db.settings) as own:
            return run(own, "SELECT * FROM dev_processing_nodes WHERE server_id = 'node-b'")

    before = other()
    db.run(name, server_id="node-a", boot=node.boot, **NODE_STATEMENTS[name])
    assert other() == before


def test_a_node_holds_a_claim_while_it_works_on_it_and_others_are_those_that_are_worked_on(db: Database) -> None:
    id, token = claimed(db)
    node = nodes.register(db, "node-c", str(uuid.uuid4()))
    assert node is not None

    def beat(server_id: str, its: str) -> tuple[bool, bool]:
        values = {**NODE_STATEMENTS["heartbeat"], "token": its}
        with application(db.settings) as own:
            (found,) = run(own, f"SELECT boot::text AS boot FROM dev_processing_nodes WHERE server_id = '{server_id}'")
        (answer,) = db.run("heartbeat", server_id=server_id, boot=found["boot"], **values)
        return answer["holds"], answer["others"]

    assert beat("node-a", token) == (True, False)
    assert beat("node-c", token) == (False, False)
    assert beat("node-c", STRANGER) == (False, True)
    claims.complete(db, id=id, token=token, result=None)
    assert row(db, id)["processing_token"] is not None
    assert beat("node-a", token) == (False, False)
    assert beat("node-a", STRANGER) == (False, False)


def test_after_an_outage_the_silent_are_spared_and_neither_those_that_beat_nor_those_that_stopped(db: Database) -> None:
    for name in ("silent", "beats", "stopped"):
        boot(db, name)
    put_node(db, "silent", "lease_until = now() - interval '1 s'")
    put_node(db, "stopped", "lease_until = now() - interval '1 s', stopped_at = now()")

    assert [one["server_id"] for one in db.run("spare")] == ["silent"]
    with application(db.settings) as own:
        looked = run(own, "SELECT server_id FROM dev_processing_nodes WHERE looked_lease IS NOT NULL")
    assert looked == [{"server_id": "silent"}]
