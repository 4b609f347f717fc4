"""A node is blamed only by evidence: files that it failed and another node then completed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.queue import nodes
from opskit.queue.quarantine import judge
from opskit.queue.server_id import Boot
from tests.support.nodes import ask
from tests.support.quarantine import complete, convicting, failed_by, state
from tests.support.tables import attempts, boot, files, put_node

# -- the judgement -----------------------------------------------------------------------------


def test_a_node_goes_into_quarantine_when_others_completed_what_it_failed(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)

    reason = judge(db, sick, 6)

    assert reason is not None
    assert reason.startswith("5 files that it failed were then completed by other nodes, as a-4.csv: OSError: ")
    assert [state(db, name) for name in "abc"] == ["quarantined", "active", "active"]
    event = db.run("events", file_id="", kind="state", row_limit=1)[0]
    (whole,) = db.run("event", event_id=event["id"])
    assert (whole["outcome"], whole["reason"]) == ("quarantined", reason)
    assert {file["completedBy"] for file in whole["details"]["files"]} == {"b", "c"}


@pytest.mark.parametrize("outcome", ["rejected", "timeout"])
def test_rejected_and_timed_out_files_are_no_evidence(
    db: Database, fleet: tuple[Boot, Boot, Boot], outcome: str
) -> None:
    sick, well, _ = fleet
    ids = files(db, *(f"file-{n}" for n in range(7)))
    failed_by(db, sick, *ids[:-1], outcome=outcome)
    for id in ids[:-1]:
        queue.requeue(db, [id], actor="me")
        complete(db, well, id)
    failed_by(db, sick, ids[-1])

    assert judge(db, sick, 7) is None


def test_a_file_that_failed_elsewhere_too_is_no_evidence(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, well, other = fleet
    ids = files(db, *(f"file-{n}" for n in range(6)))
    failed_by(db, sick, *ids[:-1])
    failed_by(db, other, ids[0])
    for id in ids[:-1]:
        complete(db, well, id)
    failed_by(db, sick, ids[-1])

    assert judge(db, sick, 6) is None


def test_a_node_that_failed_only_while_nobody_succeeded_is_not_blamed(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, well, _ = fleet
    ids = files(db, *(f"file-{n}" for n in range(6)))
    failed_by(db, sick, *ids)
    # The outage is over: others were first to take the files again.
    for id in ids:
        complete(db, well, id)

    assert judge(db, sick, 6) is None


def test_failures_from_before_a_completion_of_its_own_do_not_count(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)

    assert judge(db, sick, 4) is None
    assert judge(db, sick, 5) is None, "four of its last five attempts are evidence"


def test_evidence_ends_after_an_hour(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    ask(db, f"UPDATE {db.names['events']} SET at = at - interval '61 minutes'")

    assert judge(db, sick, 6) is None


@pytest.mark.parametrize(
    "change", ["stopped_at = now()", "lease_until = now() - interval '1 s'", "state = 'draining'", "paused"]
)
def test_the_last_node_that_claims_is_never_quarantined(db: Database, change: str) -> None:
    sick, other, third = boot(db, "a"), boot(db, "b"), boot(db, "c")
    convicting(db, sick, other, third)
    for name in "bc":
        queue.pause(db, name, actor="me") if change == "paused" else put_node(db, name, change)

    assert judge(db, sick, 6) is None
    assert state(db, "a") == "active"


def test_one_of_two_may_go_and_one_of_three_but_not_two_of_three(db: Database) -> None:
    first, second = boot(db, "a"), boot(db, "b")
    convicting(db, first, second)
    assert judge(db, first, 6)

    third = boot(db, "c")
    convicting(db, second, third)

    assert judge(db, second, 6) is None
    boot(db, "d")
    assert judge(db, second, 6)


def test_nodes_that_judge_at_once_never_take_more_than_half_of_the_fleet(db: Database) -> None:
    fleet = [boot(db, name) for name in "abcd"]
    judges = [Database(db.settings, pooled=False) for _ in fleet]
    for one in judges:
        one.one("bad_attempts", server_id="a", row_limit=1)
    most = 0
    well = boot(db, "well")
    charges = {node.server_id: convicting(db, node, well) for node in fleet}
    assert len(charges) == 4
    nodes.deregister(db, well, "it has shown that the files are good")

    for _ in range(25):
        ask(db, f"UPDATE {db.names['nodes']} SET state = 'active', probe_at = NULL, cleared_at = NULL")
        start = threading.Barrier(4)

        def judged(own: Database, node: Boot, start: threading.Barrier = start) -> None:
            start.wait()
            judge(own, node, 6)

        threads = [threading.Thread(target=judged, args=each) for each in zip(judges, fleet, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        taken = sum(state(db, node.server_id) == "quarantined" for node in fleet)
        most = max(most, taken)
        assert taken <= 2
    assert most == 2, "the evidence would have sufficed against all four"
    for one in judges:
        one.close()


def test_a_judgement_gives_way_to_whoever_holds_a_row_and_keeps_no_heartbeat_waiting(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    with Database(db.settings, pooled=False) as rude, rude.connection() as connection, connection.transaction():
        connection.execute(f"SELECT FROM {db.names['nodes']} WHERE server_id = 'b' FOR UPDATE".encode())
        assert judge(db, sick, 6) is None

    assert judge(db, sick, 6)


@pytest.mark.slow
def test_evidence_is_read_through_indexes_however_long_the_history_is(db: Database) -> None:
    sick, well, _ = boot(db, "a"), boot(db, "b"), boot(db, "c")
    names = db.names
    # A long history: of the fleet, whose newest events are all of others, and of the node, whose are old.
    ask(
        db,
        f"INSERT INTO {names['files']} (original_filename, processing_status, processing_server_id, "
        "processing_started_at, processing_completed_at, processing_attempt) "
        "SELECT 'f' || n, 'completed', 'b', now(), now(), 1 FROM generate_series(1, 100000) AS n",
    )
    convicting(db, sick, well)
    ask(
        db,
        f"INSERT INTO {names['events']} (kind, outcome, next_status, file_id, server_id, attempt, started_at) "
        "SELECT 'attempt', 'raised', 'queued', n::text, 'b', 1, now() FROM generate_series(1, 100000) AS n",
    )

    def pages(name: str, **values: Any) -> int:
        text, bound = db._text(name)[1], dict(values)
        with db.connection() as connection, connection.transaction(force_rollback=True):
            bound |= {key: names[key] for key in db._text(name)[0].values & names.keys()}
            raw = text if isinstance(text, bytes) else text.as_string().encode()
            row = connection.execute(b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + raw, bound).fetchone()
        assert row is not None
        plan = row["QUERY PLAN"][0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    for analyzed in (False, True):
        if analyzed:
            ask(db, f"ANALYZE {names['files']}, {names['events']}, {names['nodes']}")
        charge = db.one("bad_attempts", server_id="a", row_limit=6)
        assert len(charge["ids"]) == 6
        again, since = charge["again"].isoformat(), charge["since"].isoformat()
        assert pages("bad_attempts", server_id="a", row_limit="6") < 60  # 5 to 12
        ids = "{" + ",".join(charge["ids"]) + "}"
        used = pages("quarantine", server_id="a", boot=sick.boot, ids=ids, since=since, again=again, after="5")
        assert used < 250  # 57 to 90


def test_an_attempt_that_others_made_leaves_no_trace_in_the_judgement(db: Database) -> None:
    node = boot(db)
    (id,) = files(db, "a")
    failed_by(db, boot(db, "b"), id)

    assert db.one("bad_attempts", server_id=node.server_id, row_limit=10) == {"ids": [], "since": None, "again": None}
    assert len(attempts(db, id)) == 1
