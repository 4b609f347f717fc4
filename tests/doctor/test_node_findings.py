"""Findings about nodes, their claims and their heartbeats."""

from __future__ import annotations

import dataclasses
import re

import pytest

from opskit import queue
from opskit.database import Database
from tests.support.examining import examined, finished, mend, parses, the_one
from tests.support.nodes import ask, until
from tests.support.tables import application, boot, claimed, files, put_node, run

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"


# -- the work ------------------------------------------------------------------------------------


def test_files_queued_and_no_node_alive(db: Database) -> None:
    files(db, "a", "b")

    finding = the_one(db, "^2 files are queued and no node is alive")

    assert (finding.level, finding.mend) == ("error", "opskit worker")
    parses(db.settings, finding)


def test_a_long_queue_is_counted_up_to_a_bound(db: Database) -> None:
    ask(db, f"INSERT INTO {TABLE} (processing_status) SELECT 'queued' FROM generate_series(1, 10001)")

    the_one(db, "^more than 10,000 files are queued and no node is alive")


def test_files_queued_and_every_live_node_is_draining(healthy: Database) -> None:
    files(healthy, "a")
    queue.drain(healthy, "node-a", actor="me")

    finding = the_one(healthy, "^1 file is queued and the live node is draining or in quarantine")

    assert finding.level == "error"


@pytest.mark.slow
def test_a_dead_node_with_its_claim(healthy: Database) -> None:
    claimed(healthy, "node-b")
    put_node(healthy, "node-b", "lease_until = now() - interval '20 minutes', beat_at = now() - interval '21 minutes'")

    claims, dead = examined(healthy)

    assert (claims.level, dead.level) == ("error", "warning")
    assert claims.mend == "opskit cleanup"
    assert re.fullmatch(r"silent without a good-bye: node-b on \S+ for 21 min( \d+ s)?", dead.what)
    for finding in (claims, dead):
        parses(healthy.settings, finding)
    mend(healthy.settings, claims)  # the first look
    put_node(healthy, "node-b", "looked_at = now() - interval '3 seconds'")
    mend(healthy.settings, claims)
    mend(healthy.settings, dataclasses.replace(dead, mend=dead.mend.splitlines()[1]))
    assert examined(healthy) == []


def test_many_dead_nodes_are_one_finding(healthy: Database) -> None:
    for number in range(8):
        boot(healthy, f"pod-{number}")
        put_node(healthy, f"pod-{number}", "lease_until = now() - interval '1 minute'")

    finding = the_one(healthy, "pod-0 on .* and 3 more")

    assert finding.mend.startswith("opskit worker --node-id pod-0")


def test_a_known_nodes_own_threshold_is_held_against_durations(healthy: Database) -> None:
    boot(healthy, "patient", lease_seconds=600.0, stale_after_seconds=7200.0)
    finished(healthy, 1, "now() - interval '90 minutes'", server_id="patient")

    assert examined(healthy) == []
    ask(healthy, f"UPDATE {TABLE} SET processing_server_id = 'node-a'")
    the_one(healthy, "^1 file in 30 days ran longer than 1 h, one of them 1 h 30 min")


BEATS = f"DO $$ BEGIN FOR n IN 1..{{}} LOOP UPDATE {NODES} SET beat_at = clock_timestamp(); END LOOP; END $$"


def test_heartbeats_that_find_no_room(healthy: Database) -> None:
    boot(healthy, "node-b", lease_seconds=600.0)
    with application(healthy.settings) as connection:
        # Wide rows, and one transaction: what it leaves behind, nobody can tidy up meanwhile.
        run(connection, f"ALTER TABLE {NODES} ALTER COLUMN host SET STORAGE PLAIN")
        run(connection, f"UPDATE {NODES} SET host = repeat('x', 3000)")
        run(connection, BEATS.format(600))
        run(connection, "SELECT pg_stat_force_next_flush()")

    finding = until(lambda: next(iter(examined(healthy)), None))

    assert re.search(rf"^\d+ of 120\d updates of {NODES} found no room on their page", finding.what)
    mend(healthy.settings, finding)
    until(lambda: not examined(healthy))


def test_few_heartbeats_are_not_judged(healthy: Database) -> None:
    with application(healthy.settings) as connection:
        run(connection, f"ALTER TABLE {NODES} ALTER COLUMN host SET STORAGE PLAIN")
        run(connection, f"UPDATE {NODES} SET host = repeat('x', 3000)")
        run(connection, BEATS.format(900))
        run(connection, "SELECT pg_stat_force_next_flush()")
    until(lambda: healthy.one("doctor/heartbeats")["updates"] > 900)

    assert examined(healthy) == []


def test_an_epoch_raised_often_is_no_sign_of_cold_heartbeats(healthy: Database) -> None:
    with application(healthy.settings) as connection:
        for _ in range(1100):
            run(connection, f"UPDATE {NODES} SET epoch = epoch + 1")
        run(connection, "SELECT pg_stat_force_next_flush()")
    until(lambda: healthy.one("doctor/heartbeats")["updates"] >= 1100)

    assert examined(healthy) == []
