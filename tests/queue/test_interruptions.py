"""Interruptions: the database's absence and its refusals are no failures of the file, within bounds."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from opskit import doctor, queue
from opskit.database import Database
from opskit.queue import claims, nodes
from opskit.queue.interruptions import MOST_INTERRUPTIONS, by_outage, interrupt
from opskit.settings import Settings
from opskit.worker.supervisor import Supervisor
from tests.support.nodes import add_files, ask, running_nodes, status, until
from tests.support.tables import application, attempts, boot, change, claim, claimed, fail, put, put_node, row, run


def interrupted(db: Database, id: str, times: int, *, start: int = 0) -> list[str]:
    """Claim a file and interrupt it, so many times; what each interruption answered."""
    node, answers = boot(db, f"node-of-{id}-{start}"), []
    for _ in range(times):
        token = claims.claim_one(db, node, id).token
        answers.append(interrupt(db, id=id, token=token, reason="the database was away", actor="node-a"))
    return answers


def test_an_interrupted_file_keeps_its_place_its_failures_and_its_error(db: Database) -> None:
    id, token = claimed(db)
    fail(db, id, token)
    before = row(db, id)
    answer = claim(db, boot(db, "node-b"))

    said = interrupt(db, id=id, token=answer.token, reason="the database was away", actor="node-b")

    after = row(db, id)
    assert said == "queued"
    for column in ("processing_queued_at", "processing_failures", "processing_errors"):
        assert after[column] == before[column]
    assert (after["processing_attempt"], after["processing_server_id"], after["processing_token"]) == (2, None, None)
    assert (attempts(db, id)[0]["outcome"], attempts(db, id)[0]["reason"]) == ("interrupted", "the database was away")
    assert interrupt(db, id=id, token=answer.token, reason="again", actor="node-b") == "lost"


def test_twenty_interruptions_cost_nothing_and_further_ones_are_failures(db: Database) -> None:
    (id,) = add_files(db, "a")

    free = interrupted(db, id, MOST_INTERRUPTIONS)
    unharmed = row(db, id)["processing_failures"]
    counted = interrupted(db, id, 3, start=1)

    assert (free, unharmed) == (["queued"] * 20, 0)
    assert counted == ["queued", "queued", "failed"]
    assert row(db, id)["processing_failures"] == 3
    assert "interrupted 22 times before: this one counts as a failure" in row(db, id)["processing_errors"]
    assert {event["outcome"] for event in attempts(db, id)} == {"interrupted"}


@pytest.mark.parametrize("who", ["operator", "application"])
def test_a_requeue_gives_a_file_its_interruptions_back(db: Database, who: str) -> None:
    (id,) = add_files(db, "a")
    interrupted(db, id, MOST_INTERRUPTIONS + 3)
    assert status(db, id) == "failed"

    if who == "operator":
        queue.requeue(db, [id], actor="me")
    else:
        with application(db.settings) as connection:
            change(connection, db.settings.files, id, "processing_status = 'queued', processing_failures = 0")
    answers = interrupted(db, id, MOST_INTERRUPTIONS, start=1)

    assert answers == ["queued"] * MOST_INTERRUPTIONS
    assert row(db, id)["processing_failures"] == 0


def test_interruptions_are_counted_from_a_few_pages_of_a_long_history(db: Database) -> None:
    (id,) = add_files(db, "a")
    ask(
        db,
        f"INSERT INTO {db.names['events']} (kind, outcome, next_status, file_id) "
        "SELECT 'attempt', 'released', 'queued', CASE WHEN n % 10 = 0 THEN '1' ELSE n::text END "
        "FROM generate_series(1, 50000) AS n",
    )
    ask(db, f"VACUUM ANALYZE {db.names['events']}")
    token = claims.claim_one(db, boot(db), id).token
    values = {"id": id, "token": token, "reason": "r", "most": 20, "on_orphan": "requeue", "max_failures": 3}

    with db.connection() as connection, connection.transaction():
        _, text = db._text("interrupt")
        given = {key: str(value) for key, value in {**values, "retry_seconds": 0, "actor": "a"}.items()}
        given |= {"channel": db.names["channel"]}
        explained = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + text, given).fetchone()

    assert explained is not None
    plan = explained["QUERY PLAN"][0]["Plan"]
    # 100 events of the file in an index of 50,000, the row, its indexes and the event.
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200


def test_a_processor_that_must_never_run_twice_fails_when_it_is_interrupted(db: Database) -> None:
    id, token = claimed(db)

    with Database(dataclasses.replace(db.settings, on_orphan="fail")) as own:
        said = interrupt(own, id=id, token=token, reason="the database was away", actor="node-a")

    assert (said, status(db, id)) == ("failed", "failed")
    assert "queues no file a second time" in row(db, id)["processing_errors"]


def test_only_errors_of_our_own_database_are_its_outage(db: Database) -> None:
    with Database(db.settings, pooled=False) as own:
        own.run("any_file")
        elsewhere = psycopg.OperationalError("connection refused")
        refused = psycopg.errors.UniqueViolation("duplicate key")

        assert not by_outage(own, elsewhere)
        assert not by_outage(own, refused)
        assert not by_outage(own, ValueError("bad line"))
        with own.connection() as connection:
            pid = connection.info.backend_pid
        ask(db, f"SELECT pg_terminate_backend({pid}, 5000)")
        assert by_outage(own, elsewhere)
        assert not by_outage(own, refused)


# -- after an outage -------------------------------------------------------------------------


def test_after_an_outage_a_silent_node_has_a_whole_lease_to_come_back_through_every_door(db: Database) -> None:
    id, _ = claimed(db, lease_seconds=60.0)
    put_node(db, "node-a", "lease_until = now() - interval '1 minute', beat_at = now() - interval '2 minutes'")
    queue.preview(db)
    put_node(db, "node-a", "looked_at = now() - interval '30 seconds'")

    nodes.spare(db)
    by_operator = queue.cleanup(db, actor="operator")
    by_node = queue.cleanup(db, look_seconds=None, actor="node-b")

    assert (by_operator.ended, by_node.ended) == ([], [])
    assert [row["verdict"] for row in by_node.pending] == ["silent"]
    put_node(db, "node-a", "looked_at = looked_at - interval '59 seconds'")
    assert queue.cleanup(db, look_seconds=None, actor="node-b").ended == []
    put_node(db, "node-a", "looked_at = looked_at - interval '2 seconds'")
    assert [row["id"] for row in queue.cleanup(db, look_seconds=None, actor="node-b").ended] == [id]


def test_sparing_waits_for_nobody_and_leaves_alone_who_beats_or_has_stopped(db: Database) -> None:
    for name in ("node-a", "node-b", "node-c"):
        boot(db, name)
    put_node(db, "node-b", "lease_until = now() - interval '1 minute', stopped_at = now()")
    put_node(db, "node-c", "lease_until = now() - interval '1 minute'")

    with application(db.settings) as connection, connection.transaction():
        run(connection, f"SELECT FROM {db.names['nodes']} WHERE server_id = 'node-c' FOR UPDATE")
        nodes.spare(db)

    assert ask(db, f"SELECT count(looked_at) AS n FROM {db.names['nodes']}") == [{"n": 0}]


# -- refusals --------------------------------------------------------------------------------


@pytest.fixture
def node_role(db: Database) -> Iterator[tuple[Settings, str]]:
    """A role with a node's rights, and the settings of a node that is it."""
    name = f"node_{(db.settings.database_url or '').rpartition('_')[2]}"
    ask(db, f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    for table, rights in (
        (db.settings.files, "SELECT, UPDATE"),
        (db.names["nodes"], "SELECT, INSERT, UPDATE, DELETE"),
        (db.names["events"], "SELECT, INSERT, DELETE"),
        (db.names["pauses"], "SELECT"),
    ):
        ask(db, f"GRANT {rights} ON {table} TO {name}")
    url = make_conninfo(db.settings.database_url or "", user=name, password="x")
    yield dataclasses.replace(db.settings, database_url=url), name
    ask(db, f"DROP OWNED BY {name}")
    ask(db, f"DROP ROLE {name}")


@pytest.mark.slow
def test_a_heartbeat_that_is_refused_is_no_outage_and_costs_the_file_nothing(
    db: Database, node_role: tuple[Settings, str], tmp_path: Path
) -> None:
    settings, role = node_role
    (id,) = add_files(db, "a")
    with Database(settings) as theirs, running_nodes(theirs, tmp_path) as start:
        node = start("node-a", act="slow", ACT_SECONDS="6", OPSKIT_LEASE_SECONDS="1")
        until(lambda: db.run("held", server_id="node-a"))

        ask(db, f"REVOKE UPDATE ON {db.names['nodes']} FROM {role}")
        until(lambda: "stopping the child: the database refused this node's heartbeats" in node.log)
        ask(db, f"GRANT UPDATE ON {db.names['nodes']} TO {role}")

        until(lambda: status(db, id) == "completed")
        assert node.log.count("the database refuses this node's heartbeat: PostgreSQL says: permission denied") == 1
        assert "going on as soon as it answers" not in node.log
    assert row(db, id)["processing_failures"] == 0
    assert [event["outcome"] for event in attempts(db, id)] == ["interrupted"]


def test_a_node_whose_role_may_not_delete_does_not_prune_and_says_so_once(
    db: Database, node_role: tuple[Settings, str], caplog: pytest.LogCaptureFixture
) -> None:
    settings, role = node_role
    ask(db, f"REVOKE DELETE ON {db.names['nodes']} FROM {role}")
    caplog.set_level(logging.INFO, "opskit")

    supervisor = Supervisor(settings)
    for _ in range(2):
        supervisor._housekeeping.next_prune = 0.0
        supervisor._reap(others=False)
    supervisor.db.close()
    supervisor.shared_status.close()

    assert [record.message for record in caplog.records] == [
        "this node's role may not delete: schedule opskit prune under one that may"
    ]


def test_the_doctor_names_the_command_to_schedule_where_nobody_prunes(
    db: Database, node_role: tuple[Settings, str]
) -> None:
    settings, role = node_role
    ask(db, f"REVOKE DELETE ON {db.names['nodes']}, {db.names['events']} FROM {role}")
    boot(db, "node-gone")
    put_node(db, "node-gone", "lease_until = now() - interval '9 days', stopped_at = now() - interval '9 days'")
    ask(db, f"UPDATE {db.names['events']} SET at = now() - interval '100 days'")

    with Database(settings, pooled=False) as theirs:
        found = {finding.what: finding for finding in doctor.examine(theirs, missing=[])}

    (lacks,) = [finding for what, finding in found.items() if " lacks DELETE on " in what]
    (kept,) = [finding for what, finding in found.items() if what.startswith("nobody prunes")]
    assert (lacks.level, kept.level) == ("warning", "warning")
    assert {finding.mend.partition("  #")[0] for finding in (lacks, kept)} == {"opskit prune"}
    assert kept.what == "nobody prunes what is old: 1 node silent for more than 8 days and events of 100 d ago"
    queue.prune(db)
    assert not [each for each in doctor.examine(db, missing=[]) if "prune" in each.what]


def test_a_wrong_word_for_what_to_do_in_an_outage_is_refused() -> None:
    with pytest.raises(Exception, match="OPSKIT_ON_OUTAGE is 'panic'; it must be 'stop' or 'continue'"):
        Settings.load({}, on_outage="panic")


def test_a_file_interrupted_while_another_has_it_is_not_touched(db: Database) -> None:
    id, token = claimed(db)
    put(db, id, "processing_token = gen_random_uuid(), processing_server_id = 'node-b'")

    assert interrupt(db, id=id, token=token, reason="late", actor="node-a") == "lost"
    assert status(db, id) == "processing"
