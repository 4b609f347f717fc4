"""What has ended: kept where it takes long to count, exact as of its moment; live numbers never wait for it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from opskit import stats
from opskit.database import Database, queries
from opskit.database.cache import Cache
from opskit.errors import StillCountingError
from opskit.settings import Settings
from tests.database.test_cache import Clock, settled
from tests.support.api import served
from tests.support.nodes import ask

FILES = "dev_uploaded_files"
HOUR = 3600.0


def end(db: Database, server: str, status: str, number: int = 1) -> None:
    """So many files that a server has ended."""
    ask(
        db,
        f"INSERT INTO {FILES} (original_filename, processing_status, processing_server_id, processing_started_at,"
        " processing_completed_at) SELECT 'f' || n, %s, %s, now(), now() FROM generate_series(1, %s) AS n",
        status, server, number,
    )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def large(db: Database, clock: Clock) -> Database:
    """A database whose ended files take long to count, as far as it knows: three of node-a, one of them failed."""
    db.cache = Cache(slow_seconds=-1.0, small=-1, clock=clock)
    end(db, "node-a", "completed", 2)
    end(db, "node-a", "failed")
    assert ended(db) == {"completed": 2, "failed": 1}
    return db


def now(db: Database, patience_seconds: float = 20.0) -> dict[str, Any]:
    (row,) = stats.records(stats.concurrency(db, patience_seconds=patience_seconds))
    return row


def ended(db: Database) -> dict[str, int]:
    row = now(db)
    return {state: row[state] for state in ("completed", "failed")}


def recounted(db: Database, clock: Clock) -> dict[str, int]:
    """What has ended, counted anew, and compared with a count of the table itself."""
    clock.now += HOUR
    row = now(db)
    states = dict.fromkeys(("completed", "failed"), 0)
    for found in ask(
        db, f"SELECT processing_status AS s, count(*) AS n FROM {FILES} WHERE deleted IS NOT TRUE GROUP BY 1"
    ):
        states[found["s"]] = found["n"]
    assert row["waiting_files"] == states.get(None, 0)  # type: ignore[call-overload]  # SQL's NULL
    assert row["total_files"] == sum(number for state, number in states.items() if state)
    return {state: row[state] for state in ("completed", "failed")}


# -- one count for all ---------------------------------------------------------------------------


def test_a_small_table_is_always_counted_anew_in_one_snapshot(db: Database) -> None:
    for number in range(1, 4):
        end(db, "node-a", "completed")
        assert now(db)["completed"] == number
        assert db.cache.quick("ended")
    frame = stats.distribution(db, patience_seconds=20)
    assert stats.records(frame) == stats.records(stats.distribution(db))


def test_what_has_ended_is_kept_for_a_minute_and_live_numbers_are_of_this_moment(large: Database, clock: Clock) -> None:
    before = now(large)
    end(large, "node-b", "completed")
    ask(large, f"INSERT INTO {FILES} (original_filename) VALUES ('waits')")
    ask(large, f"INSERT INTO {FILES} (processing_status, processing_started_at) VALUES ('processing', now())")

    row = now(large)

    assert (row["queued"], row["processing"], row["completed"], row["total_files"]) == (1, 1, 2, 5)
    assert row["counted_at"] == before["counted_at"] < row["as_of"]
    assert recounted(large, clock) == {"completed": 3, "failed": 1}
    assert now(large)["counted_at"] > before["counted_at"]


def test_live_numbers_do_not_wait_for_the_count(db: Database) -> None:
    db.cache = Cache(slow_seconds=-1.0, small=-1)
    ask(db, f"INSERT INTO {FILES} (original_filename) VALUES ('waits')")
    begun, gate = threading.Event(), threading.Event()
    really = db.run_long

    def held(name: str, /, *, seconds: float, **values: object) -> list[dict[str, Any]]:
        begun.set()
        gate.wait(20)
        return really(name, seconds=seconds, **values)

    db.run_long = held  # type: ignore[method-assign]  # a count that takes as long as it is told
    row = now(db, patience_seconds=0)
    spread = stats.distribution(db, patience_seconds=0)
    try:
        assert begun.wait(20)
        assert (row["queued"], row["completed"], row["total_files"], row["counted_at"]) == (1, None, None, None)
        assert list(spread["processing_status"]) == ["queued"]
        with pytest.raises(StillCountingError):
            stats.counted(spread)
        with pytest.raises(StillCountingError):
            stats.server_counts(db, "node-a", patience_seconds=0)
        with pytest.raises(StillCountingError):
            stats.failures(db, patience_seconds=0)
    finally:
        gate.set()
        settled()
    assert now(db, patience_seconds=0)["completed"] == 0


def test_parts_and_whole_give_the_same_numbers(large: Database) -> None:
    ask(
        large,
        f"INSERT INTO {FILES} (original_filename, processing_status, deleted) VALUES ('w', NULL, false),"
        " ('gone', 'queued', true), ('q', 'queued', false), ('p', 'processing', false), ('x', NULL, true)",
    )
    (whole,) = stats.records(stats.concurrency(large))
    large.cache = Cache(slow_seconds=-1.0, small=-1)

    parts = now(large)

    told = {"as_of", "counted_at", "oldest_queued_seconds"}
    assert {key: value for key, value in parts.items() if key not in told} == {
        key: value for key, value in whole.items() if key not in told
    }
    pd.testing.assert_frame_equal(stats.distribution(large, patience_seconds=20), stats.distribution(large))
    assert stats.server_counts(large, "node-a", patience_seconds=20) == stats.server_counts(large, "node-a")
    pd.testing.assert_frame_equal(stats.failures(large, patience_seconds=20), stats.failures(large))


def test_the_api_says_as_of_when_and_every_endpoint_shares_one_count(
    large: Database, clock: Clock, settings: Settings
) -> None:
    http = served(large, dataclasses.replace(settings, node_id="node-a"))
    before = http.get("/api/processing/concurrency-stats").json()
    end(large, "node-a", "completed", 10)

    after = http.get("/api/processing/concurrency-stats").json()
    assert after["countedAt"] == before["countedAt"] < after["timestamp"]
    assert (after["totalFiles"], after["byStatus"]["completed"]) == (3, 2)
    assert http.get("/api/processing/server-info").json()["stats"] == {"processing": 0, "completed": 2, "failed": 1}
    assert [row["fileCount"] for row in http.get("/api/processing/distribution").json()] == [2, 1]
    assert 'opskit_files{environment="development",state="completed"} 2.0' in http.get("/metrics").text

    clock.now += HOUR
    assert http.get("/api/processing/concurrency-stats").json()["totalFiles"] == 13


# -- when it is exact ----------------------------------------------------------------------------


def test_a_count_sees_what_was_committed_and_nothing_else(large: Database, clock: Clock) -> None:
    insert = f"INSERT INTO {FILES} (processing_status, processing_server_id) VALUES ('completed', 'late')"
    with large.connection() as late, large.connection() as undone:
        with late.transaction():
            late.execute(insert.encode())
            assert recounted(large, clock) == {"completed": 2, "failed": 1}
        assert recounted(large, clock) == {"completed": 3, "failed": 1}
        with undone.transaction(force_rollback=True):
            undone.execute(insert.encode())
            assert recounted(large, clock) == {"completed": 3, "failed": 1}
    assert recounted(large, clock) == {"completed": 3, "failed": 1}


CHANGES = {
    "deleted by a flag": (f"UPDATE {FILES} SET deleted = true WHERE processing_status = 'failed'", 2, 0),
    "undeleted": (f"UPDATE {FILES} SET deleted = (id % 2 = 0)", None, None),
    "deleted for good": (f"DELETE FROM {FILES} WHERE processing_status = 'completed'", 0, 1),
    "requeued": (f"UPDATE {FILES} SET processing_status = 'queued' WHERE processing_status = 'failed'", 2, 0),
    "failed by the application": (f"UPDATE {FILES} SET processing_status = 'failed'", 0, 3),
    "moved to another server": (f"UPDATE {FILES} SET processing_server_id = 'other'", 2, 1),
    "given up": (f"UPDATE {FILES} SET processing_status = NULL WHERE processing_status = 'completed'", 0, 1),
    "another end": (f"UPDATE {FILES} SET processing_completed_at = NULL", 2, 1),
    "rubbed out": (f"TRUNCATE {FILES}", 0, 0),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_count_is_exact_whatever_changed_the_rows(large: Database, clock: Clock, how: str) -> None:
    statement, completed, failed = CHANGES[how]
    ask(large, statement)

    found = recounted(large, clock)

    if completed is not None:
        assert found == {"completed": completed, "failed": failed}
    spread = stats.distribution(large, patience_seconds=20)
    clock.now += HOUR
    pd.testing.assert_frame_equal(spread, stats.distribution(large))


# -- plans ---------------------------------------------------------------------------------------


@pytest.fixture
def filled(db: Database) -> Database:
    """Twenty thousand files, a few of them live, vacuumed."""
    end(db, "node-a", "completed", 15000)
    end(db, "node-b", "failed", 300)
    ask(db, f"INSERT INTO {FILES} (original_filename) SELECT 'q' || n FROM generate_series(1, 100) AS n")
    ask(db, f"INSERT INTO {FILES} (processing_status) SELECT NULL FROM generate_series(1, 4600) AS n")
    ask(db, f"VACUUM (ANALYZE) {FILES}")
    return db


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes_of(below)


def plan(db: Database, name: str, **values: object) -> list[dict[str, Any]]:
    statement, text = db._text(name)
    for known in statement.values & db.names.keys():
        values.setdefault(known, db.names[known])
    with db.connection() as connection, connection.transaction(force_rollback=True):
        # A table of this size fits in the planner's idea of cheap; one of ten million rows does not.
        connection.execute(b"SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        (row,) = connection.execute(
            b"EXPLAIN (ANALYZE, FORMAT json) " + text, {key: str(value) for key, value in values.items()} or None
        ).fetchall()
    return list(nodes_of(row["QUERY PLAN"][0]["Plan"]))


def test_what_has_ended_and_what_waits_is_counted_without_a_look_at_the_table(filled: Database) -> None:
    scans = [node for node in plan(filled, "ended") if node.get("Relation Name") == FILES]

    assert {node["Node Type"] for node in scans} == {"Index Only Scan"}
    assert {node["Index Name"] for node in scans} == {f"{FILES}_processing_ended", f"{FILES}_processing_waits"}
    assert sum(node["Heap Fetches"] for node in scans) == 0


STATISTICS: dict[str, dict[str, object]] = {
    "concurrency": {"stale_after_seconds": 3600},
    "distribution": {},
    "server_counts": {"server_id": "node-a"},
    "live": {"stale_after_seconds": 3600},
    "live_distribution": {},
    "failures": {"row_limit": 100, "of_lane": ""},
    "longest_running": {"row_limit": 10},
    "nodes": {},
    "throughput": {"since_seconds": 60, "bucket_seconds": 60, "of_lane": ""},
}


def test_no_statistic_reads_the_whole_table(filled: Database) -> None:
    for name, values in STATISTICS.items():
        scans = [node for node in plan(filled, name, **values) if node.get("Relation Name") == FILES]

        assert scans, name
        assert all("Index" in node["Node Type"] and node["Index Name"] != f"{FILES}_pkey" for node in scans), name


def test_live_numbers_read_live_rows_alone(filled: Database) -> None:
    for name in ("live", "live_distribution"):
        values = {"stale_after_seconds": 3600} if name == "live" else {}
        scans = [node for node in plan(filled, name, **values) if node.get("Relation Name") == FILES]
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 201
        assert "completed" not in queries.text(name).partition("SELECT")[2]
