"""Claiming: one row under any plan, the order of the queue, and what a claim that takes none says."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import NotClaimableError
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from tests.support.tables import application, boot, claim, fail, files, put, put_node, run

# -- the claim -------------------------------------------------------------------------------

FORCED = {
    "as it is": "",
    "sequential scans": "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    "nested loops": "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off",
    "merge joins": "SET enable_hashjoin = off; SET enable_nestloop = off",
    "generic plans": "SET plan_cache_mode = force_generic_plan",
    "index scans": "SET enable_seqscan = off; SET enable_bitmapscan = off",
}


@pytest.mark.parametrize("plans", FORCED.values(), ids=FORCED)
@pytest.mark.parametrize("analyzed_empty", [True, False], ids=["analyzed empty", "never analyzed"])
def test_a_claim_takes_exactly_one_row_under_any_plan(db: Database, plans: str, analyzed_empty: bool) -> None:
    if analyzed_empty:
        with application(db.settings) as connection:
            run(connection, "ANALYZE")
    files(db, *(f"file-{n}" for n in range(30)))
    node = boot(db)
    values = {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch, "after": "-infinity"}
    with db.connection() as connection:
        run(connection, plans or "SELECT 1")

        first = uuid.uuid4()
        (answer,) = db.run_on(connection, "claim", token=first, **values)
        (second,) = db.run_on(
            connection,
            "complete_and_claim",
            id=answer["id"],
            done_token=first,
            result="null",
            token=uuid.uuid4(),
            **values,
        )
        run(connection, "RESET ALL")

    assert (answer["outcome"], answer["original_filename"]) == ("claimed", "file-0")
    assert second["original_filename"] == "file-1"
    found = {each["processing_status"]: each["file_count"] for each in db.run("distribution")}
    assert found == {"completed": 1, "processing": 1, "queued": 28}


def test_a_claim_answers_what_it_found(db: Database) -> None:
    node = boot(db)
    empty = claims.claim(db, node)
    (id,) = files(db, "a")
    queue.pause(db, "node-a", actor="test")
    paused = claims.claim(db, node)
    queue.resume(db, "node-a", actor="test")
    stranger = claims.claim(db, Boot("node-b", str(uuid.uuid4()), 1))
    late = claims.claim(db, Boot("node-a", node.boot, node.epoch - 1))
    taken = claims.claim(db, node)

    assert (empty.outcome, empty.row, empty.next_seconds) == ("empty", None, None)
    assert (paused.outcome, stranger.outcome, late.outcome) == ("paused", "deposed", "deposed")
    assert taken.outcome == "claimed"
    assert taken.row is not None
    assert (taken.row["id"], taken.row["attempt"], taken.row["failures"]) == (id, 1, 0)


def test_a_node_whose_lease_has_run_out_claims_nothing_until_it_beats_again(db: Database) -> None:
    first, second = files(db, "a", "b")
    node = boot(db)
    held = claim(db, node)
    put_node(db, "node-a", "lease_until = now() - interval '1 second'")

    answer = claims.complete_and_claim(
        db, node, id=first, done_token=held.token, result=None, after="-infinity", token=claims.new_token()
    )
    done = claims.complete(db, id=first, token=held.token)
    alone = claims.claim(db, node)
    nodes.heartbeat(db, node)
    alive = claims.claim(db, node)

    assert (answer, done, alone.outcome) == (None, "done", "paused")
    assert alive.row is not None
    assert alive.row["id"] == second


def test_an_empty_answer_says_when_the_next_file_is_due(db: Database) -> None:
    (id,) = files(db, "a")
    put(db, id, "processing_queued_at = now() + interval '90 seconds'")

    answer = claims.claim(db, boot(db))

    assert answer.outcome == "empty"
    assert answer.next_seconds is not None
    assert 80 < answer.next_seconds <= 90


def test_the_queue_is_served_in_order_and_a_cursor_skips_what_lies_before_it(db: Database) -> None:
    ids = files(db, "a", "b", "c")
    put(db, ids[2], "processing_queued_at = now() - interval '1 hour'")
    node = boot(db)

    first = claim(db, node)
    fail(db, ids[2], first.token)
    put(db, ids[2], "processing_queued_at = now() - interval '2 hours'")
    after_cursor = claims.claim(db, node, after=first.cursor)

    assert first.row is not None
    assert after_cursor.row is not None
    assert (first.row["id"], after_cursor.row["id"]) == (ids[2], ids[0])


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        ("deleted = true", "file {id} is deleted"),
        ("processing_status = NULL", "waits without a status"),
        (
            "processing_status = 'failed', processing_server_id = 'x', processing_completed_at = now()",
            "was failed by x",
        ),
        ("processing_status = 'processing', processing_server_id = 'x'", "is being processed by x since 2"),
    ],
)
def test_a_file_that_cannot_be_claimed_by_hand_says_why(db: Database, assignments: str, sentence: str) -> None:
    (id,) = files(db, "a")
    put(db, id, assignments)
    node = boot(db)

    with pytest.raises(NotClaimableError, match=sentence.format(id=id)):
        claims.claim_one(db, node, id)
    with pytest.raises(NotClaimableError, match="there is no file '999'"):
        claims.claim_one(db, node, "999")
    with pytest.raises(NotClaimableError, match="ids look different"):
        claims.claim_one(db, node, "no-number")

    assert claims.held(db, "node-a") == []


def test_forty_claims_at_once_take_forty_different_files(db: Database) -> None:
    files(db, *(f"file-{n}" for n in range(40)))
    many = [boot(db, f"node-{n}") for n in range(40)]

    with Database(db.settings) as shared, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda node: claims.claim(shared, node), many))

    taken = [answer.row["id"] for answer in answers if answer.row]
    assert len(set(taken)) == len(taken) == 40
