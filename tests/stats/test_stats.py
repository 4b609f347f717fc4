"""The statistics: their columns and dtypes, full and empty, whatever the application's columns are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import psycopg
import pytest
from psycopg import sql

from opskit import migration, queue, stats
from opskit.database import Database
from opskit.errors import NotMigratedError, SettingError
from opskit.queue import claims, nodes
from opskit.settings import Settings
from tests.support.nodes import ask
from tests.support.tables import boot, claim, files, put_node

TABLES = {
    "concurrency": stats.CONCURRENCY,
    "distribution": stats.DISTRIBUTION,
    "longest-running": stats.LONGEST_RUNNING,
    "stale": stats.STALE,
    "nodes": stats.NODES,
    "forecast": stats.FORECAST,
    "node-work": stats.NODE_WORK,
    "throughput": stats.THROUGHPUT,
    "trends": stats.TRENDS,
    "marks": stats.MARKS,
    "failures": stats.FAILURES,
    "files": stats.FILES,
    "timeline": stats.TIMELINE,
    "events": stats.EVENTS,
    "acts": stats.ACTS,
    "pauses": stats.PAUSES,
    "lanes": stats.LANES,
    "lane-work": stats.LANE_WORK,
}


def run(db: Database, statement: str, *values: object) -> None:
    with db.connection() as connection:
        connection.execute(sql.SQL(statement).format(files=sql.Identifier(db.settings.files)), values or None)


def a_bit_of_everything(db: Database) -> None:
    """One file in every state, a node with progress, an event and a pause."""
    run(db, "INSERT INTO {files} (original_filename) VALUES ('waits.csv'), ('runs.csv'), ('gone.csv')")
    run(db, "UPDATE {files} SET deleted = true WHERE original_filename = 'gone.csv'")
    for status, server in (("completed", "node-a"), ("failed", "node-b")):
        run(
            db,
            "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_errors,"
            " processing_queued_at, processing_started_at, processing_completed_at) VALUES (%s, %s, %s, %s,"
            " now() - interval '60 s', now() - interval '50 s', now() - interval '20 s')",
            f"{status}.csv", status, server, "line 17 is bad" if status == "failed" else None,
        )  # fmt: skip
    run(db, "UPDATE {files} SET processing_queued_at = now() - interval '90 s' WHERE original_filename = 'runs.csv'")
    boot = nodes.register(db, "node-a", "00000000-0000-0000-0000-000000000001")
    assert boot is not None
    answer = claims.claim(db, boot)
    nodes.heartbeat(db, boot, token=answer.token, done=10, total=40)
    run(
        db, "UPDATE {files} SET processing_started_at = now() - interval '6 min' WHERE processing_status = 'processing'"
    )
    queue.pause(db, "*", actor="me", reason="disk full")
    migration.set_lanes(db, "original_filename", actor="test")


@pytest.fixture
def plain(settings: Settings) -> Iterator[Database]:
    """A table of the application's own, with plain timestamps, text ids and rows from before."""
    with Database(settings) as database:
        run(
            database,
            "CREATE TABLE {files} (id text PRIMARY KEY DEFAULT gen_random_uuid()::text, original_filename varchar(200),"
            " processing_status varchar(20) DEFAULT 'queued', processing_started_at timestamp,"
            " processing_completed_at timestamp, processing_queued_at timestamp)",
        )
        migration.migrate(database)
        yield database


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_statistic_has_the_declared_columns_and_dtypes(db: Database, name: str) -> None:
    # The migration has noted what it added.
    ask(db, f"DELETE FROM {db.names['events']}")

    frame = stats.STATISTICS[name](db)

    assert dtypes(frame) == TABLES[name]
    assert len(frame) == {"concurrency": 1, "forecast": 1, "trends": 61}.get(name, 0)


def test_every_statistic_keeps_its_dtypes_when_there_is_something_to_tell(db: Database) -> None:
    a_bit_of_everything(db)

    for name, function in stats.STATISTICS.items():
        frame = function(db, every=True) if name == "stale" else function(db)
        # The table has lanes.
        assert dtypes(frame) == {**TABLES[name], **({"lane": "string"} if function.lane_of else {})}
        assert not frame.empty, name


def test_every_statistic_keeps_its_dtypes_over_plain_timestamps_and_text_ids(plain: Database) -> None:
    a_bit_of_everything(plain)

    for name, function in stats.STATISTICS.items():
        frame = function(plain, every=True) if name == "stale" else function(plain)
        # The table has lanes.
        assert dtypes(frame) == {**TABLES[name], **({"lane": "string"} if function.lane_of else {})}
        assert not frame.empty, name


def test_a_plain_timestamp_is_taken_for_utc(plain: Database) -> None:
    a_bit_of_everything(plain)

    row = stats.longest_running(plain).iloc[0]
    age = (pd.Timestamp.now(tz="UTC") - row["processing_started_at"]).total_seconds()
    assert 360 <= age < 420
    assert 6 <= row["minutes_processing"] < 7


def test_the_distribution_counts_rows_with_a_status_and_no_deleted_ones(db: Database) -> None:
    a_bit_of_everything(db)
    run(db, "INSERT INTO {files} (processing_status) VALUES (NULL)")

    assert stats.records(stats.distribution(db)) == [
        {"processing_server_id": None, "processing_status": "queued", "file_count": 1},
        {"processing_server_id": "node-a", "processing_status": "completed", "file_count": 1},
        {"processing_server_id": "node-a", "processing_status": "processing", "file_count": 1},
        {"processing_server_id": "node-b", "processing_status": "failed", "file_count": 1},
    ]


def test_concurrency_tells_the_numbers_of_the_moment(db: Database) -> None:
    a_bit_of_everything(db)
    run(db, "INSERT INTO {files} (processing_status) VALUES (NULL)")

    (now,) = stats.records(stats.concurrency(db))
    assert [now[key] for key in ("total_files", "queued", "processing", "completed", "failed")] == [4, 1, 1, 1, 1]
    assert (now["waiting_files"], now["active_servers"], now["all_paused"]) == (1, 1, True)
    assert (now["stale_files"], now["orphaned_files"]) == (0, 0)
    assert 0 <= now["oldest_queued_seconds"] < 60


def test_the_oldest_queued_age_is_missing_when_nothing_is_queued(db: Database) -> None:
    assert stats.concurrency(db)["oldest_queued_seconds"].isna().all()


def test_longest_running_begins_with_the_oldest_claim_and_keeps_to_its_limit(db: Database) -> None:
    for minutes in (5, 90, 30):
        run(
            db,
            "INSERT INTO {files} (original_filename, processing_status, processing_started_at)"
            " VALUES (%s, 'processing', now() - %s * interval '1 min')",
            f"{minutes}.csv", minutes,
        )  # fmt: skip

    frame = stats.longest_running(db, limit=2)
    assert list(frame["original_filename"]) == ["90.csv", "30.csv"]
    assert frame["processing_server_id"].isna().all()


def test_stale_tells_the_suspects_and_with_every_those_that_are_well(db: Database) -> None:
    a_bit_of_everything(db)
    assert stats.stale(db).empty
    assert list(stats.stale(db, every=True)["verdict"]) == ["alive"]
    run(db, "UPDATE {files} SET processing_token = NULL, processing_started_at = now() - interval '61 min'"
            " WHERE processing_status = 'processing'")  # fmt: skip

    (row,) = stats.records(stats.stale(db))
    assert (row["verdict"], row["would_become"]) == ("stale", "failed")


def test_nodes_tell_state_file_and_progress(db: Database) -> None:
    a_bit_of_everything(db)

    (row,) = stats.records(stats.nodes(db))
    assert (row["server_id"], row["state"], row["original_filename"]) == ("node-a", "paused", "runs.csv")
    assert (row["progress_done"], row["progress_total"]) == (10, 40)


def test_throughput_counts_by_stretch_state_and_server(db: Database) -> None:
    a_bit_of_everything(db)

    frame = stats.throughput(db, since_seconds=600, bucket_seconds=300)
    assert sorted(frame["processing_status"]) == ["completed", "failed"]
    assert list(frame["mean_wait_seconds"].round()) == [10, 10]
    assert list(frame["mean_run_seconds"].round()) == [30, 30]
    assert all(start.timestamp() % 300 == 0 for start in frame["bucket_start"])


def test_failures_group_errors_that_differ_in_numbers_only(db: Database) -> None:
    for line in (17, 4):
        run(
            db,
            "INSERT INTO {files} (original_filename, processing_status, processing_errors, processing_completed_at)"
            " VALUES ('a.csv', 'failed', %s, now())",
            f"line {line} is bad",
        )

    (row,) = stats.records(stats.failures(db))
    assert (row["error"], row["file_count"], row["last_hour"]) == ("line # is bad", 2, 2)


def test_events_are_the_newest_first_and_can_be_chosen(db: Database) -> None:
    a_bit_of_everything(db)

    kinds = [kind for kind in stats.events(db)["kind"] if kind != "migrate"]
    assert kinds[:2] == ["pause", "boot"]
    assert list(stats.events(db, kind="boot")["server_id"]) == ["node-a"]
    assert stats.events(db, file_id="no such file").empty
    assert len(stats.events(db, limit=1)) == 1


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("longest-running", {"limit": 0}),
        ("failures", {"limit": -1}),
        ("events", {"limit": 2**31}),
        ("throughput", {"since_seconds": 0}),
        ("throughput", {"bucket_seconds": float("nan")}),
        ("throughput", {"since_seconds": float("inf")}),
        ("throughput", {"since_seconds": 86400, "bucket_seconds": 1}),
    ],
)
def test_a_number_that_cannot_be_used_is_refused(db: Database, name: str, values: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        stats.STATISTICS[name](db, **values)


def test_a_database_that_is_not_migrated_is_named_so(settings: Settings) -> None:
    with Database(settings) as database, pytest.raises(NotMigratedError, match="run: opskit migrate"):
        stats.distribution(database)


def test_records_are_plain_json(db: Database) -> None:
    a_bit_of_everything(db)

    for function in stats.STATISTICS.values():
        json.dumps(stats.records(function(db)), allow_nan=False)


def test_times_are_written_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert stats.iso(datetime(2026, 11, 23, 14, 0, 0, 5000, tzinfo=east)) == "2026-11-23T12:00:00.005Z"
    assert stats.iso(datetime(2026, 11, 23, 12, tzinfo=UTC)) == "2026-11-23T12:00:00.000Z"
    assert stats.iso(datetime(2026, 11, 23, 12)) == "2026-11-23T12:00:00.000Z"
    assert stats.iso(None) is None


@pytest.mark.parametrize(("name", "sessions"), [("node-10", 1), ("node-1", 0)])
def test_the_sessions_of_an_earlier_boot_are_told_by_the_servers_whole_name(
    db: Database, name: str, sessions: int
) -> None:
    files(db, "a")
    claim(db, boot(db, "node-10"))
    put_node(db, "node-10", "first_epoch = epoch + 1, epoch = epoch + 1")

    with psycopg.connect(db.settings.database_url or "", application_name=f"opskit development 00000000 {name}"):
        (evidence,) = stats.records(stats.evidence(db))

    assert evidence["sessions"] == sessions


def test_pandas_reads_through_the_same_pool(db: Database) -> None:
    frame = pd.read_sql("SELECT 1 AS one, 'a' AS letter", db.engine)
    # More often than the pool has connections: each comes back.
    again = [pd.read_sql("SELECT 2 AS one", db.engine)["one"][0] for _ in range(20)]

    assert frame.to_dict("records") == [{"one": 1, "letter": "a"}]
    assert set(again) == {2}
    assert db.one("server_counts", server_id="nobody") == {"processing": 0, "completed": 0, "failed": 0}


def test_what_is_unknown_is_no_number(db: Database) -> None:
    boot(db, "idle")
    run(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id) "
        "VALUES ('old.csv', 'processing', 'older-processor')",
    )

    (idle,) = stats.nodes(db).to_dict("records")
    (claim_,) = stats.stale(db, every=True).to_dict("records")

    assert pd.isna(idle["minutes_processing"])
    assert idle["seconds_since_heartbeat"] >= 0
    assert pd.isna(claim_["seconds_since_heartbeat"])
