"""Settling: what becomes of the claim that a dead child held, and when an attempt is over its time."""

from __future__ import annotations

import dataclasses

import psycopg
import pytest

from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from opskit.worker.child_process import Ending
from opskit.worker.settling import Settled, settle
from opskit.worker.status import Snapshot
from opskit.worker.time_limits import next_limit
from tests.support.tables import attempts, boot, claim, files, put, put_node, row

CRASH = Ending("crashed", "killed by signal 9", "killed")


def held(db: Database) -> tuple[Boot, str, str]:
    """A node with a claim: its boot, the file and the token."""
    (id,) = files(db, "a")
    node = boot(db)
    return node, id, claim(db, node).token


def test_a_crash_costs_the_file_an_attempt_and_the_last_one_fails_it(db: Database) -> None:
    node, id, token = held(db)

    assert settle(db, node, CRASH, begun=token) == Settled(failed=0, retried=1, bad=True)
    assert (row(db, id)["processing_status"], row(db, id)["processing_failures"]) == ("queued", 1)

    put(db, id, "processing_failures = 2, processing_queued_at = clock_timestamp()")
    token = claim(db, node).token
    assert settle(db, node, CRASH, begun=token) == Settled(failed=1, retried=0, bad=True)
    assert row(db, id)["processing_status"] == "failed"


def test_a_timeout_fails_the_file_and_is_no_bad_end_of_its_node(db: Database) -> None:
    node, id, token = held(db)

    assert settle(db, node, Ending("timeout", "no progress"), begun=token) == Settled(failed=1, retried=0, bad=False)
    assert row(db, id)["processing_status"] == "failed"


def test_a_claim_that_no_processor_has_seen_goes_back_uncounted_whatever_ended_its_child(db: Database) -> None:
    node, id, _ = held(db)

    for ending in (CRASH, Ending("interrupted", "no database"), Ending("released", "told to stop")):
        assert settle(db, node, ending, begun="") == Settled(failed=0, retried=0, bad=False)
        assert (row(db, id)["processing_status"], row(db, id)["processing_failures"]) == ("queued", 0)
        assert attempts(db, id)[0]["outcome"] == "released"
        claim(db, node)


def test_a_child_that_is_told_to_stop_gives_its_file_back(db: Database) -> None:
    node, id, token = held(db)

    assert settle(db, node, Ending("released", "told to stop"), begun=token) == Settled(failed=0, retried=0, bad=False)
    assert attempts(db, id)[0]["outcome"] == "released"
    assert attempts(db, id)[0]["reason"] == "told to stop"


def test_an_outage_interrupts_the_attempt_and_fails_what_may_not_run_again(db: Database) -> None:
    node, id, token = held(db)
    outage = Ending("interrupted", "the database was away")

    assert settle(db, node, outage, begun=token) == Settled(failed=0, retried=0, bad=False)
    assert attempts(db, id)[0]["outcome"] == "interrupted"

    with Database(dataclasses.replace(db.settings, on_orphan="fail")) as strict:
        token = claim(db, node).token
        assert settle(strict, node, outage, begun=token) == Settled(failed=1, retried=0, bad=False)
    assert row(db, id)["processing_status"] == "failed"


def test_a_cancelled_claim_fails_and_another_that_the_child_took_instead_goes_back(db: Database) -> None:
    node, id, token = held(db)

    assert settle(db, node, Ending("cancelled", "cancelled", token=token), begun=token) == Settled(
        failed=1, retried=0, bad=False
    )
    assert attempts(db, id)[0]["outcome"] == "cancelled"

    (other,) = files(db, "b")
    begun = claim(db, node).token
    assert settle(db, node, Ending("cancelled", "cancelled", token=token), begun=begun) == Settled(
        failed=1, retried=0, bad=False
    )
    assert row(db, other)["processing_status"] == "queued"
    assert attempts(db, other)[0]["reason"] == "released: its process was killed for a cancelled file"


def test_a_cancel_ends_what_the_sessions_of_the_child_are_still_at(db: Database) -> None:
    node, id, token = held(db)
    assert db.settings.database_url is not None
    names = [f"opskit {db.settings.env} {boot} child" for boot in (node.boot[:8], "00000000")]
    url = db.settings.database_url
    with (
        psycopg.connect(url, application_name=names[0]) as own,
        psycopg.connect(url, application_name=names[1]) as other,
    ):
        for session in (own, other):
            session.execute("SELECT 1")
        settle(db, node, CRASH, begun=token)
        own.execute("SELECT 1")
        settle(db, node, Ending("cancelled", "cancelled", token=token), begun=token)

        with pytest.raises(psycopg.OperationalError):
            own.execute("SELECT 1")
        other.execute("SELECT 1")
    assert row(db, id)["processing_status"] == "queued"


def test_settling_raises_the_epoch_so_that_no_claim_of_before_lands_after_it(db: Database) -> None:
    node, _, token = held(db)
    before = dataclasses.replace(node)

    settle(db, node, CRASH, begun=token)

    assert node.epoch == before.epoch + 1
    files(db, "b")
    assert claims.claim(db, before).outcome == "deposed"
    assert claims.claim(db, node).outcome == "claimed"


def test_a_boot_that_another_has_replaced_settles_nothing(db: Database) -> None:
    node, id, token = held(db)
    put(db, id, f"processing_epoch = {node.epoch + 1}")

    assert settle(db, node, CRASH, begun=token) == Settled(failed=0, retried=0, bad=False)
    assert row(db, id)["processing_status"] == "processing"

    put_node(db, node.server_id, "boot = gen_random_uuid()")
    assert settle(db, node, CRASH, begun=token) is None
    assert nodes.advance(db, node) is None


def moment(started: float, moved: float) -> Snapshot:
    return Snapshot(
        token="t", started=started, moved=moved, done=None, total=None, completed=0, failed=0, retried=0, streak=0,
        streak_began=0.0, group=0, file="", attempt=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("started", "moved", "hard", "due", "outcome"),
    [
        (100.0, 130.0, None, 190.0, "timeout"),
        (100.0, 130.0, 80.0, 180.0, "crashed"),
        (100.0, 130.0, 200.0, 190.0, "timeout"),
        (0.0, 130.0, 80.0, None, ""),
    ],
)
def test_an_attempt_is_over_its_time_by_its_last_progress_or_by_its_start(
    settings: Settings, started: float, moved: float, hard: float | None, due: float | None, outcome: str
) -> None:
    limits = dataclasses.replace(settings, stale_after_seconds=60.0, hard_limit_seconds=hard)

    limit = next_limit(limits, "node-a", moment(started, moved))

    assert (None if limit is None else (limit[0], limit[1].outcome)) == (None if due is None else (due, outcome))
