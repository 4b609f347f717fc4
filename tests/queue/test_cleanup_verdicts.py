"""Cleanups that race, large cleanups, and verdicts on which preview, cleanup, psql and Python agree."""

from __future__ import annotations

import contextlib
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
from opskit.queue import claims
from tests.support.cleaning import cleanup, foreign
from tests.support.tables import application, ask_psql, attempts, boot, files, opskit, put, row, run

# -- at the same time ------------------------------------------------------------------------


@pytest.mark.slow
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


@pytest.mark.fast_cases(4)
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
