"""Which files a cancel ends, which it has their nodes end, and what it leaves: each condition at its edge."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from opskit.database import Database
from opskit.queue import claims
from tests.support.tables import application, attempts, boot, claimed, files, put, put_node, row, run, states_kept

STRANGER = "00000000-0000-0000-0000-000000000007"


def cancel(db: Database, *ids: str, **given: Any) -> dict[str, str]:
    """Run the statement once, which waits for nobody; what became of each file."""
    values = {
        "which": "ids" if ids else "live", "ids": list(ids), "claims": [], "status": "", "server_id": "", "search": "",
        "before": "", "of_lane": "", "row_limit": 100, "actor": "ann", "reason": "",
    }  # fmt: skip
    with db.connection() as connection:
        connection.execute("SET lock_timeout = '2s'")
        found = db.run_on(connection, "cancel", **{**values, **given})
        connection.execute("RESET lock_timeout")
    return {one["id"]: one["outcome"] for one in found}


def told(db: Database) -> dict[str, Any]:
    """Which claim each node is told to end."""
    with application(db.settings) as own:
        return {
            one["server_id"]: one["token"]
            for one in run(own, f"SELECT server_id, cancel_token::text AS token FROM {db.names['nodes']}")
        }


def events(db: Database, id: str) -> list[str]:
    """The states that the history's cancellations of a file led to."""
    with application(db.settings) as own:
        query = f"SELECT next_status FROM {db.names['events']} WHERE kind = 'cancel' AND file_id = '{id}' ORDER BY id"
        return [one["next_status"] for one in run(own, query)]


@contextlib.contextmanager
def locked(db: Database, id: str) -> Iterator[None]:
    """Another session has a row locked."""
    with application(db.settings) as other, other.transaction():
        run(other, f"SELECT 1 FROM {db.settings.files} WHERE id = {id} FOR UPDATE")
        yield


# -- which files -------------------------------------------------------------------------------


def test_a_cancel_ends_the_files_that_are_named_and_are_queued_or_in_processing(db: Database) -> None:
    queued, other, deleted, failed, completed = files(db, "a", "b", "c", "d", "e")
    put(db, deleted, "deleted = true")
    put(db, failed, "processing_status = 'failed'")
    put(db, completed, "processing_status = 'completed'")
    held, _ = claimed(db)

    assert cancel(db, queued, deleted, failed, completed, held) == {queued: "failed", held: "failed"}
    assert (row(db, other)["processing_status"], row(db, deleted)["processing_status"]) == ("queued", "queued")
    assert row(db, completed)["processing_status"] == "completed"


def test_a_cancel_of_every_file_leaves_what_its_filters_leave(db: Database) -> None:
    (queued, left_behind) = files(db, "Invoice", "letter")
    put(db, left_behind, "processing_server_id = 'node-a'")  # as an application requeues
    held, _ = claimed(db)
    elsewhere, _ = claimed(db, "node-b")

    assert cancel(db, server_id="node-a") == {held: "failed"}
    assert cancel(db, status="processing") == {elsewhere: "failed"}
    assert cancel(db, search="INVOICE") == {queued: "failed"}
    assert cancel(db, status="queued") == {left_behind: "failed"}


def test_a_cancel_of_every_file_takes_those_from_before_those_that_wait_and_those_without_a_place(db: Database) -> None:
    early, late, waiting = files(db, "early", "late", "waiting")
    (unplaced,) = files(db, "unplaced")
    put(db, early, "processing_queued_at = '2020-01-01'")
    put(db, waiting, "processing_queued_at = now() + interval '1 hour'")
    put(db, unplaced, "processing_status = 'processing', processing_queued_at = NULL")

    assert cancel(db, before="2021-01-01") == {early: "failed", unplaced: "failed", waiting: "failed"}
    assert row(db, late)["processing_status"] == "queued"


def test_a_cancel_takes_the_first_of_the_queue_up_to_its_limit(db: Database) -> None:
    ids = files(db, "a", "b", "c")
    put(db, ids[2], "processing_queued_at = '2020-01-01'")

    assert cancel(db, row_limit=2) == {ids[2]: "failed", ids[0]: "failed"}


# -- what is locked ----------------------------------------------------------------------------


def test_a_cancel_waits_for_no_row_and_tells_the_node_that_holds_it_once(db: Database) -> None:
    (id, token), (other, _) = claimed(db), claimed(db, "node-b")
    boot(db, "node-c")

    with locked(db, id):
        assert [cancel(db, id, other) for _ in range(2)] == [{id: "asked", other: "failed"}, {id: "asked"}]

    assert {name: said for name, said in told(db).items() if name != "node-b"} == {"node-a": token, "node-c": None}
    assert (events(db, id), events(db, other)) == (["processing"], ["failed"])


@pytest.mark.parametrize("how", ["queued", "no token", "no node"])
def test_a_locked_file_that_no_node_can_end_is_busy(db: Database, how: str) -> None:
    (id,) = files(db, "a")
    boot(db, "node-a")
    if how == "queued":
        put(db, id, "processing_server_id = 'node-a'")
    else:
        server = "node-a" if how == "no token" else "gone"
        more = "" if how == "no token" else ", processing_token = gen_random_uuid(), processing_epoch = 1"
        put(db, id, f"processing_status = 'processing', processing_server_id = '{server}'{more}")

    with locked(db, id):
        assert cancel(db, id) == {id: "busy"}
    assert (told(db), events(db, id)) == ({"node-a": None}, [])


def test_a_claim_without_a_token_takes_no_cancellation_of_its_server_back(db: Database) -> None:
    _, token = claimed(db)
    (older,) = files(db, "older")
    put(db, older, "processing_status = 'processing', processing_server_id = 'node-a'")
    put_node(db, "node-a", f"cancel_token = '{token}'")

    assert cancel(db, older) == {older: "failed"}
    assert told(db) == {"node-a": token}


# -- what stays of it --------------------------------------------------------------------------


def test_a_cancelled_claim_is_an_attempt_and_a_queued_file_was_none(db: Database) -> None:
    (queued,) = files(db, "a")
    held, token = claimed(db)
    cancel(db, queued, held)

    assert (attempts(db, queued), [one["outcome"] for one in attempts(db, held)]) == ([], ["cancelled"])
    assert [row(db, id)["processing_failure"]["cancelled"] for id in (queued, held)] == [True, True]
    assert told(db) == {"node-a": token}


def test_only_a_claim_without_a_token_says_that_its_late_write_counts(db: Database) -> None:
    _, older = files(db, "a", "b")
    put(db, older, "processing_status = 'processing', processing_server_id = 'old'")
    claimed(db)
    found = db.run(
        "cancel",
        which="live",
        ids=[],
        claims=[],
        status="",
        server_id="",
        search="",
        before="",
        of_lane="",
        row_limit=9,
        actor="",
        reason="",
    )

    assert [one["id"] for one in found if one["reason"]] == [older]
    assert {one["outcome"] for one in found} == {"failed"}


def test_a_file_that_a_trigger_of_the_table_keeps_is_kept(db: Database) -> None:
    (id,) = files(db, "a")
    states_kept(db)

    assert (cancel(db, id), events(db, id)) == ({id: "kept"}, [])


def test_a_cancellation_that_its_node_ends_names_whoever_asked_for_this_claim(db: Database) -> None:
    id, token = claimed(db)
    with application(db.settings) as own:
        events_table = db.names["events"]
        for kind, given, actor in (
            ("cancel", token, "ann"), ("cancel", STRANGER, "bob"), ("note", token, "carl"),
        ):  # fmt: skip
            run(
                own,
                f"INSERT INTO {events_table} (kind, file_id, token, actor) VALUES ('{kind}', '{id}', '{given}', "
                f"'{actor}')",
            )

    assert db.one("cancelled", id=id, token=token, actor="node-a")["answer"] == "failed"
    assert row(db, id)["processing_errors"] == "Cancelled by ann"


def test_a_cancellation_of_a_file_that_its_node_has_completed_comes_too_late(db: Database) -> None:
    id, token = claimed(db)
    claims.complete(db, id=id, token=token)

    assert db.one("cancelled", id=id, token=token, actor="node-a")["answer"] == "lost"
    assert row(db, id)["processing_status"] == "completed"
