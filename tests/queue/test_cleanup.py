"""Cleaning up: what nobody works on any more ends, for the true reason, and nothing else does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError
from opskit.queue import claims, nodes
from opskit.queue.identity import Boot
from opskit.queue.reaper import Cleanup
from tests.support.tables import (
    application,
    ask_psql,
    attempts,
    boot,
    claimed,
    files,
    opskit,
    psql,
    put,
    put_node,
    row,
    rows,
    run,
)

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


def foreign(db: Database, age: str, *, token: bool = True, server_id: str | None = "gone") -> str:
    """A claim of a server that no node's row describes, so old; an older processor's has no token."""
    (id,) = files(db, f"of-{server_id}")
    server = "NULL" if server_id is None else f"'{server_id}'"
    put(db, id, f"processing_status = 'processing', processing_server_id = {server}, "
                f"processing_started_at = now() - interval '{age}', processing_attempt = 1")  # fmt: skip
    if token:
        put(db, id, "processing_token = gen_random_uuid(), processing_epoch = id")
    return id


def lease_ended(db: Database, server_id: str, ago: str = "1 minute") -> None:
    """The node has died: its lease lies in the past."""
    put_node(db, server_id, f"lease_until = now() - interval '{ago}'")


def looked(db: Database, server_id: str, ago: str) -> None:
    """Move the look that has been taken at a node into the past."""
    past = f"interval '{ago}'"
    put_node(db, server_id, f"looked_at = looked_at - {past}, stale_at = stale_at - {past}")


def cleanup(db: Database, **given: Any) -> Cleanup:
    return queue.cleanup(db, actor="test", **given)


def ended(done: Cleanup) -> list[tuple[str, str, str]]:
    return [(each["id"], each["verdict"], each["outcome"]) for each in done.ended]


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


# -- claims of dead nodes --------------------------------------------------------------------


def test_a_dead_nodes_claim_needs_a_look_at_least_two_seconds_old(db: Database) -> None:
    id, _ = claimed(db, "dead")
    lease_ended(db, "dead")

    first, at_once = cleanup(db), cleanup(db)
    looked(db, "dead", "0.5 seconds")
    too_soon = cleanup(db)
    looked(db, "dead", "2 seconds")
    then = cleanup(db)

    assert [[each["id"] for each in done.pending] for done in (first, at_once, too_soon)] == [[id]] * 3
    assert [done.ended for done in (first, at_once, too_soon)] == [[], [], []]
    assert "second look" in first.pending[0]["reason"]
    assert ended(then) == [(id, "dead", "queued")]
    after, (event,) = row(db, id), attempts(db, id)
    assert (after["processing_status"], after["processing_failures"], after["processing_server_id"]) == (
        "queued",
        1,
        None,
    )
    assert (event["outcome"], event["next_status"], event["server_id"]) == ("orphaned", "queued", "dead")
    assert "dead has been silent since" in event["reason"]


def test_a_node_that_came_back_between_the_looks_keeps_its_claim(db: Database) -> None:
    id, _ = claimed(db, "slow")
    lease_ended(db, "slow", "1 minute")
    first = cleanup(db)
    looked(db, "slow", "10 seconds")
    # It has beaten since, and fallen silent again: another lease end than the one that was looked at.
    lease_ended(db, "slow", "30 seconds")

    second = cleanup(db)

    assert [each["id"] for each in first.pending + second.pending] == [id, id]
    assert second.ended == []
    looked(db, "slow", "10 seconds")
    assert ended(cleanup(db)) == [(id, "dead", "queued")]


def test_a_heartbeat_after_the_look_keeps_the_claim(db: Database) -> None:
    id, token = claimed(db, "slow")
    (held,) = claims.held(db, "slow")
    lease_ended(db, "slow")
    cleanup(db)
    looked(db, "slow", "10 seconds")
    with db.connection() as connection:
        own = str(rows(connection, db.names["nodes"])[0]["boot"])

    beat = nodes.heartbeat(db, Boot("slow", own, held["epoch"]), token=token)

    done = cleanup(db)
    assert beat is not None
    assert beat.holds
    assert (done.ended, done.pending) == ([], [])
    assert row(db, id)["processing_status"] == "processing"


def test_a_preview_counts_as_the_first_look_unless_it_only_reads(db: Database) -> None:
    id, _ = claimed(db, "dead")
    lease_ended(db, "dead")

    reads_only = queue.preview(db, look=False)
    with db.connection() as connection:
        untouched = rows(connection, db.names["nodes"])[0]["looked_at"]
    queue.preview(db)
    looked(db, "dead", "3 seconds")

    assert ([each["verdict"] for each in reads_only], untouched) == (["silent"], None)
    assert ended(cleanup(db)) == [(id, "dead", "queued")]


def test_nodes_reap_after_a_third_of_the_dead_nodes_own_lease(db: Database) -> None:
    id, _ = claimed(db, "dead", lease_seconds=60.0)
    lease_ended(db, "dead")
    first = cleanup(db, look_seconds=None)
    looked(db, "dead", "19 seconds")
    second = cleanup(db, look_seconds=None)
    looked(db, "dead", "2 seconds")

    third = cleanup(db, look_seconds=None)

    assert [len(done.pending) for done in (first, second)] == [1, 1]
    assert ended(third) == [(id, "dead", "queued")]


@pytest.mark.parametrize(
    ("policy", "before", "state"),
    [
        ({"max_failures": 3}, 0, "queued"),
        ({"max_failures": 3}, 1, "queued"),
        ({"max_failures": 3}, 2, "failed"),
        ({"max_failures": 1}, 0, "failed"),
        ({"max_failures": 9}, 7, "queued"),
        ({"max_failures": 9, "on_orphan": "fail"}, 0, "failed"),
    ],
)
@pytest.mark.parametrize("how", ["dead", "rebooted"])
def test_an_orphan_is_queued_again_by_its_owners_policy(
    db: Database, how: str, policy: dict[str, Any], before: int, state: str
) -> None:
    # The caller thinks otherwise: 3 failures, requeue.
    id, _ = claimed(db, "owner", **policy)
    put(db, id, f"processing_failures = {before}")
    lease_ended(db, "owner")
    if how == "rebooted":
        boot(db, "owner", **policy)
    else:
        cleanup(db)
        looked(db, "owner", "3 seconds")
    (seen,) = queue.preview(db)

    done = cleanup(db)

    after = row(db, id)
    assert (seen["would_become"], ended(done)) == (state, [(id, how, state)])
    assert (after["processing_status"], after["processing_failures"]) == (state, before + 1)
    assert (after["processing_server_id"], after["processing_completed_at"] is None) == (
        ("owner", False) if state == "failed" else (None, True)
    )


def test_a_file_that_kills_its_nodes_fails_when_its_budget_is_spent(db: Database) -> None:
    (id,) = files(db, "killer")
    states = []
    for n in range(3):
        claims.claim(db, boot(db, f"node-{n}", lease_seconds=600.0))
        lease_ended(db, f"node-{n}")
        cleanup(db)
        looked(db, f"node-{n}", "3 seconds")
        states += [each["outcome"] for each in cleanup(db).ended]

    assert states == ["queued", "queued", "failed"]
    assert row(db, id)["processing_attempt"] == 3
    assert [event["server_id"] for event in attempts(db, id)] == ["node-2", "node-1", "node-0"]


# -- claims of living nodes ------------------------------------------------------------------


def test_a_living_nodes_claim_without_progress_needs_two_looks_and_then_fails(db: Database) -> None:
    id, token = claimed(db, "stuck", stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")

    first = cleanup(db)
    looked(db, "stuck", "3 seconds")
    second = cleanup(db)

    assert [(each["id"], each["verdict"]) for each in first.pending] == [(id, "stuck")]
    assert "no progress" in first.pending[0]["reason"]
    assert ended(second) == [(id, "hung", "failed")]
    assert row(db, id)["processing_errors"] == "Processing timeout: no progress for 11 minutes on stuck"
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)


@pytest.mark.parametrize("moved", ["before the first look", "between the looks"])
def test_a_living_node_with_progress_is_left_alone(db: Database, moved: str) -> None:
    id, token = claimed(db, "slow", stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '5 hours'")
    progress = f"token = '{token}', progress_at = now() - interval '9 minutes'"
    if moved == "before the first look":
        put_node(db, "slow", progress)
    first = cleanup(db)
    looked(db, "slow", "10 seconds")
    put_node(db, "slow", progress)

    second = cleanup(db)
    # The suspicion of the first look is forgotten: another two are needed.
    put_node(db, "slow", f"token = '{token}', progress_at = now() - interval '11 minutes'")
    third = cleanup(db)

    assert len(first.pending) == (0 if moved == "before the first look" else 1)
    assert (second.ended, second.pending, third.ended) == ([], [], [])
    assert [each["id"] for each in third.pending] == [id]


def test_progress_on_another_claim_does_not_count(db: Database) -> None:
    id, _ = claimed(db, "stuck", stale_after_seconds=600.0)
    put(db, id, "processing_started_at = now() - interval '11 minutes'")
    put_node(db, "stuck", f"token = '{uuid.uuid4()}', progress_at = now()")

    assert [each["id"] for each in cleanup(db).pending] == [id]


def test_a_jump_of_the_clock_robs_nobody(db: Database) -> None:
    ids = [claimed(db, f"node-{n}")[0] for n in range(4)]
    # The database's clock has jumped an hour ahead: every lease looks run out, once.
    for n in range(4):
        lease_ended(db, f"node-{n}", "1 hour")

    done = cleanup(db, look_seconds=None)

    assert (done.ended, len(done.pending)) == ([], 4)
    assert {row(db, id)["processing_status"] for id in ids} == {"processing"}


# -- at the same time ------------------------------------------------------------------------


def test_a_cleanup_that_races_with_a_completion_never_ends_a_completed_file(db: Database) -> None:
    (id,) = files(db, "contested")
    won: list[str] = []
    chance = random.Random(7)
    with ThreadPoolExecutor(2) as pool:
        for n in range(50):
            answer = claims.claim_one(db, boot(db, f"node-{n}"), id)
            put(db, id, "processing_started_at = now() - interval '2 hours'")
            with db.connection() as connection:
                run(connection, f"DELETE FROM {db.names['nodes']}")
            together = threading.Barrier(2)
            # Who is ahead, by some microseconds, changes from round to round.
            late, spins = chance.choice(["cleanup", "complete"]), chance.randrange(3000)

            def after_you(who: str, late: str = late, spins: int = spins, together: Any = together) -> None:
                together.wait(10)
                for _ in range(spins if who == late else 0):
                    pass

            def finish(token: str = answer.token, wait: Callable[[str], None] = after_you) -> str:
                wait("complete")
                try:
                    return claims.complete(db, id=id, token=token)
                except ClaimLostError:
                    return "lost"

            def reap(wait: Callable[[str], None] = after_you) -> list[dict[str, Any]]:
                wait("cleanup")
                return cleanup(db).ended

            completion, cleaning = pool.submit(finish), pool.submit(reap)
            said, reaped = completion.result(20), cleaning.result(20)

            state = row(db, id)["processing_status"]
            assert (said, [each["id"] for each in reaped], state) in [
                ("done", [], "completed"), ("lost", [id], "failed"),
            ]  # fmt: skip
            won.append(state)
            put(db, id, "processing_status = 'queued', processing_queued_at = now()")

    assert len(won) == 50
    assert len(attempts(db, id)) == won.count("failed")


def test_eight_reapers_at_once_end_each_claim_once(db: Database) -> None:
    ids = {foreign(db, "2 hours", token=False) for _ in range(40)}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: cleanup(db).ended, range(8)))

    found = [each["id"] for answer in answers for each in answer]
    assert (set(found), len(found)) == (ids, 40)
    assert all(len(attempts(db, id)) == 1 for id in ids)


def test_a_row_that_is_locked_does_not_hold_up_the_rest(db: Database) -> None:
    locked, free = foreign(db, "3 hours"), foreign(db, "2 hours", server_id="other")

    with application(db.settings) as connection, connection.transaction():
        run(connection, f"SELECT FROM {db.settings.files} WHERE id = {locked} FOR UPDATE")
        done = cleanup(db)

    assert [each["id"] for each in done.ended] == [free]
    assert [each["id"] for each in cleanup(db).ended] == [locked]


def test_ten_thousand_stale_claims_end_in_one_call(db: Database) -> None:
    with application(db.settings) as connection:
        run(
            connection,
            f"""INSERT INTO {db.settings.files} (original_filename, processing_status, processing_server_id,
                processing_started_at) SELECT 'file-' || n, 'processing', 'old-' || n % 7, now() - interval '2 hours'
              FROM generate_series(1, 10000) AS n""",
        )

    done = cleanup(db)

    assert len(done.ended) == 10_000
    assert done.message == "Cleaned up 10000 stale processing locks"
    with db.connection() as connection:
        (counted,) = run(
            connection, "SELECT count(*) AS n FROM {} WHERE outcome = 'timeout'", sql.Identifier(db.names["events"])
        )
    assert counted["n"] == 10_000
    assert {each["processing_status"] for each in db.run("distribution")} == {"failed"}
    assert cleanup(db).message == "No stale processing locks found"


# -- the two files agree ---------------------------------------------------------------------


def situations(db: Database, seed: int) -> None:
    """Every mixture of owner, lease, looks, policy, progress, age and failures, 150 claims of it."""
    chance = random.Random(seed)
    young = -1  # a look so young that it stays too young for as long as the test takes [minutes]

    def ago(*minutes: float) -> str:
        return f"clock_timestamp() - interval '{chance.choice(minutes)} minutes'"

    with application(db.settings) as connection, connection.transaction():
        for n in range(150):
            token, foreign_token = str(uuid.UUID(int=n + 1)), str(uuid.UUID(int=n + 10_000))
            held = None if chance.random() < 0.2 else token
            epoch = chance.randrange(1, 4)
            values = {
                "processing_server_id": f"'node-{n}'" if chance.random() < 0.95 or held else "NULL",
                "processing_started_at": ago(1, 10, 58, 62, 200),
                "processing_failures": str(chance.randrange(4)),
                "processing_token": f"'{held}'" if held else "NULL",
                "processing_epoch": str(epoch) if held else "NULL",
            }
            names = ", ".join(["original_filename", "processing_status", *values])
            literals = ", ".join([f"'file-{n}'", "'processing'", *values.values()])
            run(connection, f"INSERT INTO {db.settings.files} ({names}) VALUES ({literals})")
            if chance.random() < 0.15:
                continue
            lease = ago(-5, 0.5, 30)
            node = {
                "server_id": f"'node-{n}'",
                "boot": "gen_random_uuid()",
                "epoch": "3",
                "first_epoch": chance.choice("11123"),
                "started_at": "now()",
                "beat_at": "now()",
                "lease_until": "lease",
                "lease_seconds": chance.choice(["6", "60"]),
                "on_orphan": chance.choice(["'fail'", "'requeue'"]),
                "max_failures": str(chance.randrange(1, 4)),
                "stale_after_seconds": chance.choice(["300", "3600"]),
                "token": chance.choice([f"'{token}'", f"'{foreign_token}'", "NULL"]),
                "progress_at": chance.choice(["NULL", "NULL", ago(0.1, 7, 61)]),
                "looked_lease": chance.choice(["NULL", "lease", "lease - interval '1 minute'"]),
                "looked_at": chance.choice(["NULL", ago(young, 0.1, 0.5)]),
                "stale_token": chance.choice(["NULL", f"'{token}'", f"'{token}'", f"'{foreign_token}'"]),
                "stale_at": chance.choice(["NULL", ago(young, 0.1, 0.5, 2)]),
            }
            run(connection, f"INSERT INTO {db.names['nodes']} ({', '.join(node)}) "
                            f"SELECT {', '.join(node.values())} FROM (SELECT {lease} AS lease) AS l")  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("look_seconds", ["2", "15", ""])
def test_the_preview_and_the_cleanup_agree_on_every_verdict(db: Database, seed: int, look_seconds: str) -> None:
    situations(db, seed)
    given: dict[str, Any] = {"stale_after_seconds": 3600, "look_seconds": look_seconds}

    shown = db.run("stale", every=True, **given)
    numbers = db.one("concurrency", stale_after_seconds=3600)
    done = db.run("cleanup", claims=[], server_id="", row_limit=10_000, actor="test", reason="", **given)

    suspected = {each["claim"]: each for each in shown if each["verdict"] not in ("alive", "unproven")}
    assert len(shown) == 150
    assert {each["claim"]: each["verdict"] for each in done} == {
        key: each["verdict"] for key, each in suspected.items()
    }
    for each in done:
        pending = each["verdict"] in ("silent", "stuck")
        assert each["outcome"] == ("pending" if pending else suspected[each["claim"]]["would_become"])
    assert {each["verdict"] for each in shown} == {
        "alive", "unproven", "stale", "silent", "dead", "rebooted", "stuck", "hung",
    }  # fmt: skip
    tally = [each["verdict"] for each in shown]
    assert numbers["stale_files"] == sum(map(tally.count, ("stale", "stuck", "hung")))
    assert numbers["orphaned_files"] == sum(map(tally.count, ("silent", "dead", "rebooted")))
    left = {each["claim"]: each["verdict"] for each in db.run("stale", every=True, **given)}
    assert left == {each["claim"]: each["verdict"] for each in shown if each["verdict"] not in (
        "stale", "dead", "rebooted", "hung")}  # fmt: skip


def test_psql_and_python_show_the_same_verdicts(db: Database) -> None:
    situations(db, 11)

    by_hand = ask_psql(db.settings, "stale", every="true")

    ours = queue.preview(db, look=False, every=True)
    assert [(each["id"], each["verdict"], each["would_become"] or None, each["claim"]) for each in by_hand] == [
        (each["id"], each["verdict"], each["would_become"], each["claim"]) for each in ours
    ]


def test_a_dry_run_of_the_shell_names_claims_that_it_takes_back(db: Database) -> None:
    keep, end = foreign(db, "3 hours", token=False), foreign(db, "2 hours")

    shown = json.loads(opskit(db.settings, "cleanup", "--dry-run", "--json").stdout)["files"]
    still = [row(db, id)["processing_status"] for id in (keep, end)]
    done = json.loads(opskit(db.settings, "cleanup", "--json", shown[1]["claim"], "--reason", "by hand").stdout)

    assert still == ["processing", "processing"]
    assert [each["id"] for each in shown] == [keep, end]
    assert ([each["id"] for each in done["files"]], done["cleanedFiles"]) == ([end], 1)
    assert done["message"] == "Cleaned up 1 stale processing locks"
    assert attempts(db, end)[0]["details"]["said"] == "by hand"


def test_only_transactions_in_the_way_of_this_table_are_ended(db: Database) -> None:
    """Another schema of the database may have a node of the same name, whose boot this one does not know."""
    boot(db, "node-a")
    url, name = db.settings.database_url or "", "opskit development 00000000 node-a"
    with contextlib.closing(psycopg.connect(url, application_name=name)) as other:
        other.execute("SELECT 1")
        assert db.run("evict", env="development", look_seconds=2) == []

        other.execute(f"LOCK TABLE {db.settings.files} IN ROW SHARE MODE")
        assert [row["ended"] for row in db.run("evict", env="development", look_seconds=2)] == [True]
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")
