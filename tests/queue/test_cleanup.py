"""Cleaning up: claims of unknown servers end by their age, and only those that were meant."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from opskit import queue
from opskit.database import Database
from opskit.queue import claims
from tests.support.cleaning import cleanup, ended, foreign, lease_ended
from tests.support.tables import attempts, boot, claimed, opskit, psql, put, row, run

# -- the doors: each answers the claims it ended, as (id, outcome) ----------------------------


def by_python(db: Database) -> list[tuple[str, str]]:
    return [(each["id"], each["outcome"]) for each in queue.cleanup(db, actor="test").ended]


def by_shell(db: Database) -> list[tuple[str, str]]:
    done = opskit(db.settings, "cleanup", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["cleanedFiles"] == len(answer["files"])
    assert answer["environment"] == "development"
    return [(each["id"], each["outcome"]) for each in answer["files"]]


def by_psql(db: Database) -> list[tuple[str, str]]:
    done = psql(db.settings, "-v", "env=development", "-f", "sql/cleanup.sql")
    assert done.returncode == 0, done.stderr
    lines = [line.split(",") for line in done.stdout.splitlines()]
    header = next(line for line in lines if line[0] == "id")
    at = header.index("outcome")
    found = [(line[0], line[at]) for line in lines[lines.index(header) + 1 :]]
    return [(id, outcome) for id, outcome in found if outcome != "pending"]


DOORS: list[Callable[[Database], list[tuple[str, str]]]] = [by_python, by_shell, by_psql]


# -- claims whose server is unknown ----------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_a_claim_of_two_hours_by_an_unknown_server_fails_and_one_of_59_minutes_is_left_alone(
    db: Database, door: Callable[[Database], list[tuple[str, str]]]
) -> None:
    old, young = foreign(db, "2 hours"), foreign(db, "59 minutes", server_id="other")
    unnamed = foreign(db, "3 hours", token=False, server_id=None)
    tokenless, fresh = foreign(db, "2 hours", token=False), foreign(db, "59 minutes", token=False)

    found = door(db)

    assert found == [(unnamed, "failed"), (old, "failed"), (tokenless, "failed")]
    assert door(db) == []
    for id, server, minutes in ((old, "gone", 120), (tokenless, "gone", 120), (unnamed, None, 180)):
        after, (event,) = row(db, id), attempts(db, id)
        reason = f"Processing timeout: no progress for {minutes} minutes on {server or 'an unnamed server'}"
        assert (after["processing_status"], after["processing_errors"]) == ("failed", reason)
        assert (after["processing_server_id"], after["processing_failures"]) == (server, 1)
        assert after["processing_completed_at"] is not None
        assert (after["processing_token"], after["processing_epoch"]) == (None, None)
        assert (event["outcome"], event["next_status"], event["reason"]) == ("timeout", "failed", reason)
        assert (event["server_id"], event["attempt"], event["details"]["cleanup"]) == (server, 1, True)
        assert event["actor"]
    for id in (young, fresh):
        assert row(db, id)["processing_status"] == "processing"
        assert attempts(db, id) == []


def test_the_callers_own_age_judges_only_claims_of_unknown_servers(db: Database) -> None:
    of_unknown = foreign(db, "20 minutes")
    of_node, _ = claimed(db, stale_after_seconds=3600.0)
    put(db, of_node, "processing_started_at = now() - interval '20 minutes'")

    with Database(dataclasses.replace(db.settings, stale_after_seconds=600.0), pooled=False) as impatient:
        done = cleanup(impatient)

    assert ended(done) == [(of_unknown, "stale", "failed")]
    assert done.pending == []


def test_a_claim_without_a_token_under_a_living_nodes_name_is_judged_by_its_start_alone(db: Database) -> None:
    old, young = foreign(db, "2 hours", token=False), foreign(db, "10 minutes", token=False)
    boot(db, "gone")
    lease_ended(db, "gone", "1 day")

    done = cleanup(db)

    assert ended(done) == [(old, "stale", "failed")]
    assert done.pending == []
    assert row(db, young)["processing_status"] == "processing"


def test_a_subset_that_was_previewed_is_cleaned_up_and_the_rest_is_not(db: Database) -> None:
    ids = [foreign(db, f"{hours} hours", token=hours % 2 == 0) for hours in (5, 4, 3, 2)]
    seen = queue.preview(db)

    done = cleanup(db, claims=[seen[1]["claim"], seen[2]["claim"]], reason="these two")

    assert [each["id"] for each in seen] == ids
    assert [each["id"] for each in done.ended] == ids[1:3]
    assert [each["id"] for each in queue.preview(db)] == [ids[0], ids[3]]
    assert attempts(db, ids[1])[0]["details"]["said"] == "these two"


def test_one_servers_claims_are_cleaned_up_and_other_servers_are_not(db: Database) -> None:
    mine, others = foreign(db, "2 hours", server_id="a"), foreign(db, "2 hours", server_id="b")

    done = cleanup(db, server_id="a")

    assert [each["id"] for each in done.ended] == [mine]
    assert row(db, others)["processing_status"] == "processing"


def test_a_cleanup_that_is_limited_begins_with_the_oldest(db: Database) -> None:
    young, old = foreign(db, "2 hours", server_id="a"), foreign(db, "3 hours", server_id="b")

    first, second = cleanup(db, limit=1), cleanup(db, limit=1)

    assert [each["id"] for each in first.ended + second.ended] == [old, young]


def test_a_claim_that_completes_between_preview_and_cleanup_is_skipped_and_reported(db: Database) -> None:
    id, token = claimed(db, "slow")
    stays = foreign(db, "2 hours")
    put(db, id, "processing_started_at = now() - interval '2 hours'")
    with db.connection() as connection:
        run(connection, f"DELETE FROM {db.names['nodes']}")
    keys = {each["id"]: each["claim"] for each in queue.preview(db)}
    claims.complete(db, id=id, token=token)

    done = cleanup(db, claims=[keys[id], keys[stays]])

    assert [each["id"] for each in done.ended] == [stays]
    assert done.skipped == [keys[id]]
    assert (row(db, id)["processing_status"], attempts(db, id)) == ("completed", [])


def test_a_file_claimed_again_since_the_preview_is_another_claim(db: Database) -> None:
    id, token = claimed(db, "slow")
    put(db, id, "processing_started_at = now() - interval '2 hours'")
    with db.connection() as connection:
        run(connection, f"DELETE FROM {db.names['nodes']}")
    (seen,) = queue.preview(db)
    claims.release(db, id=id, token=token, reason="drained", actor="slow")
    claims.claim(db, boot(db, "next"))
    put(db, id, "processing_started_at = now() - interval '3 hours'")
    with db.connection() as connection:
        run(connection, f"DELETE FROM {db.names['nodes']}")

    done = cleanup(db, claims=[seen["claim"]])

    assert (done.ended, done.skipped) == ([], [seen["claim"]])
    assert row(db, id)["processing_server_id"] == "next"
