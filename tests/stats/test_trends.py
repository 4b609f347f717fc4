"""Trends: what became of the files in each stretch of time, and what may have changed that."""

from __future__ import annotations

import json

import pytest

from opskit import queue, stats
from opskit.cli.main import main as cli
from opskit.database import Database
from opskit.stats import trends_figure
from tests.support.nodes import ask
from tests.support.tables import boot

MINUTE = 60.0


def ended(
    db: Database, count: int, *, minutes_ago: float, wait: float = 1.0, run: float = 10.0, status: str = "completed"
) -> None:
    """Files that ended at one moment, after such a wait and run [s]."""
    ask(
        db,
        f"INSERT INTO {db.names['files']} (original_filename, processing_status, processing_server_id, "
        "processing_completed_at, processing_started_at, processing_queued_at) "
        "SELECT 'f', %s, 'node-a', at, at - %s * interval '1 s', at - (%s + %s) * interval '1 s' "
        "FROM (SELECT date_trunc('minute', now()) + interval '1 ms' - %s * interval '1 min' AS at) AS clock, "
        "generate_series(1, %s)",
        status, run, run, wait, minutes_ago, count,
    )  # fmt: skip


def test_each_stretch_tells_what_ended_and_failed_and_the_same_time_yesterday(db: Database) -> None:
    ended(db, 7, minutes_ago=5)
    ended(db, 3, minutes_ago=5, status="failed")
    ended(db, 4, minutes_ago=24 * 60 + 5)
    ended(db, 9, minutes_ago=62)

    frame = stats.trends(db)

    assert len(frame) == 61
    assert (frame["bucket_start"].diff().dropna().dt.total_seconds() == MINUTE).all()
    (row,) = [row for row in stats.records(frame) if row["ended"] or row["ended_before"]]
    assert (row["ended"], row["failed"], row["ended_before"]) == (10, 3, 4)


def test_waits_and_runs_are_the_median_and_the_95th_of_what_ended(db: Database) -> None:
    for number in range(100):
        ended(db, 1, minutes_ago=3, wait=number, run=10 * number)

    (row,) = [row for row in stats.records(stats.trends(db, since_seconds=600, bucket_seconds=600)) if row["ended"]]

    # A sample of 40 of each fifth: all hundred ended in one.
    assert row["ended"] == 100
    assert 0 < row["wait_p50_seconds"] < row["wait_p95_seconds"] <= 99
    assert row["run_p95_seconds"] == pytest.approx(10 * row["wait_p95_seconds"])


@pytest.mark.parametrize("seconds", [(3600, 60), (86400, 1200), (604800, 7200), (90, 60), (1, 60)])
def test_the_newest_stretch_goes_on_until_now(db: Database, seconds: tuple[float, float]) -> None:
    since, bucket = seconds
    frame = stats.trends(db, since_seconds=since, bucket_seconds=bucket)

    newest = frame["bucket_start"].max()
    now = ask(db, "SELECT now() AS now")[0]["now"]
    assert 0 <= (now - newest).total_seconds() < bucket
    assert since / bucket <= len(frame) < since / bucket + 2
    assert (now - frame["bucket_start"].min()).total_seconds() >= since


def test_times_beyond_all_calendars_break_no_trend(db: Database) -> None:
    for column in ("processing_started_at", "processing_queued_at", "processing_arrived_at"):
        ended(db, 2, minutes_ago=1)
        table = db.names["files"]
        ask(db, f"UPDATE {table} SET {column} = 'infinity' WHERE id = (SELECT max(id) FROM {table})")
        ask(db, f"UPDATE {table} SET {column} = NULL WHERE id = (SELECT max(id) - 1 FROM {table})")

    assert stats.trends(db)["ended"].sum() == 6


def test_no_more_than_ten_thousand_stretches_are_answered(db: Database) -> None:
    assert len(stats.trends(db, since_seconds=31_536_000, bucket_seconds=1)) == 10_000


def test_a_pause_a_requeue_of_many_and_another_version_are_marks(db: Database) -> None:
    ended(db, 5, minutes_ago=2, status="failed")
    queue.pause(db, actor="ann", reason="disk full")
    queue.resume(db, actor="bob")
    queue.requeue(db, failed=True, actor="ann", reason="mended")
    for name in ("node-a", "node-b", "node-c"):
        boot(db, name)
    ask(db, f"UPDATE {db.names['events']} SET details = '{{\"version\": \"99.1\"}}' WHERE server_id = 'node-c'")

    told = {row["kind"]: row for row in stats.records(stats.marks(db)) if row["kind"] != "migrate"}

    assert set(told) == {"pause", "resume", "requeue", "deploy"}
    assert (told["pause"]["server_id"], told["pause"]["actor"], told["pause"]["reason"]) == ("*", "ann", "disk full")
    assert told["requeue"]["file_count"] == 5
    assert (told["deploy"]["what"], told["deploy"]["server_id"]) == ("99.1", "node-c")


def test_what_an_old_mark_says_is_left_out(db: Database) -> None:
    queue.pause(db, actor="ann")
    ask(db, f"UPDATE {db.names['events']} SET at = at - interval '2 h' WHERE kind = 'pause'")

    assert "pause" not in set(stats.marks(db, since_seconds=3600)["kind"])
    assert "pause" in set(stats.marks(db)["kind"])


def test_the_shell_has_the_trends_too(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    ended(db, 2, minutes_ago=0)

    assert cli(["stats", "trends", "--json", "--database-url", db.settings.database_url or ""]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sum(row["ended"] for row in rows) == 2
    assert len(rows) == 61


def test_the_figure_has_three_charts_over_one_axis_in_the_zone_of_its_reader(db: Database) -> None:
    ended(db, 5, minutes_ago=2)
    ended(db, 1, minutes_ago=2, status="failed")
    queue.pause(db, actor="<b>ann</b>", reason="disk full")

    chart = trends_figure.trends(stats.trends(db), stats.marks(db), bucket_seconds=60, zone="Asia/Tokyo")

    assert {trace.yaxis for trace in chart.data} == {"y", "y2", "y3", "y4"}
    per_minute = {trace.name: sum(trace.y) for trace in chart.data[:2]}
    assert per_minute == {"completed": 5, "failed": 1}
    (share,) = [value for value in chart.data[3].y if value is not None]
    assert share == pytest.approx(100 / 6)
    moment = stats.trends(db)["bucket_start"].max().tz_convert("Asia/Tokyo").tz_localize(None)
    assert abs((chart.data[0].x[-1] - moment).total_seconds()) <= MINUTE
    texts = [text for text in chart.data[-1].hovertext if "paused" in text]
    assert texts == ["paused all nodes by &lt;b&gt;ann&lt;/b&gt;: disk full"]
    assert len(chart.layout.shapes) == len(chart.data[-1].x)
