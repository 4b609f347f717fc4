"""The charts: the same colours everywhere, readable in light and dark, nothing lost to names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from opskit.stats import figures, timeline_figure
from tests.support.tables import attempts, boot, claim, claimed, fail, files, put


def frame(columns: Mapping[str, str], *rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns), dtype=object).astype(dict(columns))


def counts(*rows: tuple[str | None, str, int]) -> pd.DataFrame:
    return frame(stats.DISTRIBUTION, *(dict(zip(stats.DISTRIBUTION, row, strict=True)) for row in rows))


def node(server_id: str, **values: Any) -> dict[str, Any]:
    return {"server_id": server_id, "state": "live"} | values


def luminance(color: str) -> float:
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("background", ["#FFFFFF", "#0E1117"])
def test_every_state_is_seen_in_light_and_dark(background: str) -> None:
    assert all(contrast(color, background) >= 3 for color in figures.STATE_COLORS.values())
    assert all(contrast(color, background) >= 3 for color in timeline_figure.BAR_COLORS.values())


@pytest.mark.parametrize(
    ("chart", "columns"),
    [
        (figures.distribution, stats.DISTRIBUTION),
        (figures.throughput, stats.THROUGHPUT),
        (figures.nodes, stats.NODES),
        (figures.longest_running, stats.LONGEST_RUNNING),
        (timeline_figure.timeline, stats.TIMELINE),
    ],
)
def test_an_empty_frame_is_a_figure_that_says_so(chart: Any, columns: dict[str, str]) -> None:
    figure = chart(frame(columns))

    assert len(figure.layout.annotations) == 1
    assert "[" in figure.layout.title.text
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert figure.to_json()


def test_every_state_has_its_trace_and_colour_whatever_the_counts() -> None:
    full = figures.distribution(counts(("b", "failed", 2), (None, "queued", 5), ("a", "completed", 1)))
    lone = figures.distribution(counts(("a", "completed", 1)))

    for figure in (full, lone):
        assert {bar.name: bar.marker.color for bar in figure.data} == figures.STATE_COLORS
        assert [bar.name for bar in figure.data] == ["queued", "processing", "completed", "failed"]


def test_servers_stand_in_one_order_with_those_without_one_first() -> None:
    rows = [("b", "failed", 2), (None, "queued", 5), ("a", "completed", 1)]

    one, other = figures.distribution(counts(*rows)), figures.distribution(counts(*reversed(rows)))
    assert list(one.layout.yaxis.ticktext) == ["(none yet)", "a", "b"]
    assert one == other
    assert [list(bar.x) for bar in one.data] == [[5, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 2]]


def test_names_cannot_be_markup() -> None:
    figure = figures.distribution(counts(("<a href='x'>b</a>", "failed", 2)))

    assert figure.layout.yaxis.ticktext[0] == "&lt;a href='x'&gt;b&lt;/a&gt;"


def test_throughput_adds_up_the_servers_and_shows_utc() -> None:
    start = pd.Timestamp("2026-11-23 12:00", tz="UTC")
    rows = [
        {"bucket_start": start, "processing_status": "completed", "processing_server_id": server, "file_count": 3}
        for server in ("a", "b")
    ]

    figure = figures.throughput(frame(stats.THROUGHPUT, *rows), bucket_seconds=900)
    completed, failed = figure.data
    assert (list(completed.y), list(completed.x)) == ([6], [start.tz_localize(None).to_pydatetime()])
    assert not failed.y
    assert figure.layout.title.text == "Files ended [files per 15 min]"
    assert not figure.layout.annotations


def test_nodes_show_how_far_they_are() -> None:
    rows = [
        node("a", original_filename="x.csv", minutes_processing=3.25, progress_done=1, progress_total=4),
        node("b", original_filename="y.csv", minutes_processing=1.0),
        node("c", state="dead", original_filename="z.csv", minutes_processing=9.0, progress_done=9, progress_total=3),
        node("d"),
        node("e", state="stopped"),
    ]

    bar, beside = figures.nodes(frame(stats.NODES, *rows)).data
    assert list(bar.x) == [25, 0, 100, 0, 0]
    assert bar.text[0] == "x.csv · 25 % · 3.2 min"
    assert bar.text[1] == "y.csv · no progress told · 1.0 min"
    assert bar.text[2] == "dead · z.csv · 100 % · 9.0 min"
    assert list(beside.text) == ["y.csv · no progress told · 1.0 min", "live", "stopped"]
    assert list(beside.y) == [1, 3, 4]
    assert bar.marker.color[2] == figures.STATE_COLORS["failed"]


def test_files_of_one_name_keep_a_bar_each() -> None:
    rows = [
        {"original_filename": name, "processing_server_id": "a", "minutes_processing": minutes}
        for name, minutes in (("x" * 90, 9.0), ("x" * 90, 7.5), (None, None))
    ]

    figure = figures.longest_running(frame(stats.LONGEST_RUNNING, *rows))
    assert list(figure.data[0].x) == [9.0, 7.5, 0.0]
    assert len(set(figure.data[0].y)) == 3
    assert all(len(name) <= 40 for name in figure.layout.yaxis.ticktext)
    assert figure.layout.yaxis.autorange == "reversed"


# -- the timeline --------------------------------------------------------------------------------

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def bar(server: str | None, begin: float, end: float, **values: Any) -> dict[str, Any]:
    """An attempt, its times in minutes after noon."""
    row = {"kind": "attempt", "server_id": server, "file_id": "1", "outcome": "completed", "cleaned": False}
    times = {"started_at": NOON + timedelta(minutes=begin), "ended_at": NOON + timedelta(minutes=end)}
    return row | times | {"overlaps": False} | values


def mark(kind: str, server: str | None, at: float) -> dict[str, Any]:
    when = NOON + timedelta(minutes=at)
    return {"kind": kind, "server_id": server, "started_at": when, "cleaned": False, "overlaps": False}


def drawn(*rows: dict[str, Any]) -> dict[str, Any]:
    """The timeline's traces by their names."""
    return {trace.name: trace for trace in figures.timeline(frame(stats.TIMELINE, *rows)).data}


def test_the_timeline_has_a_lane_a_server_with_bars_from_claim_to_end() -> None:
    rows = [bar("b", 0, 2), bar("a", 1, 4, outcome="processing"), bar(None, 3, 4, outcome="failed")]

    figure = figures.timeline(frame(stats.TIMELINE, *rows))

    assert list(figure.layout.yaxis.ticktext) == ["(no server)", "a", "b"]
    traces = {trace.name: trace for trace in figure.data}
    assert (list(traces["completed"].y), list(traces["completed"].x)) == ([2], [120_000])
    assert list(traces["processing"].base) == [datetime(2026, 11, 23, 12, 1)]
    assert list(traces["failed"].y) == [0]


def test_only_an_overlap_is_red() -> None:
    traces = drawn(bar("a", 0, 2, overlaps=True), bar("b", 1, 3, overlaps=True), bar("b", 4, 5))

    assert len(traces["overlap"].x) == 2
    assert "OVERLAPS" in traces["overlap"].customdata[0][1]
    assert traces["overlap"].marker.color not in {traces[name].marker.color for name in traces if name != "overlap"}


def test_what_went_wrong_is_told_apart_by_what_followed() -> None:
    traces = drawn(
        bar("a", 0, 1, outcome="raised", followed="queued"),
        bar("a", 1, 2, outcome="timeout", followed="failed"),
        bar("a", 2, 3, outcome="released", followed="queued"),
    )

    assert {name: len(traces[name].x) for name in ("tried again", "failed", "given back")} == {
        "tried again": 1, "failed": 1, "given back": 1,
    }  # fmt: skip


def test_restarts_pauses_and_cleanups_are_marks() -> None:
    figure = figures.timeline(
        frame(
            stats.TIMELINE,
            mark("boot", "a", 0), mark("stop", "a", 1), mark("pause", "*", 2), mark("resume", "*", 3),
            bar("a", 0, 5, outcome="orphaned", followed="queued", cleaned=True),
        )
    )  # fmt: skip

    traces = {trace.name: trace for trace in figure.data}
    assert list(figure.layout.yaxis.ticktext) == ["(all nodes)", "a"]
    assert {"started", "stopped", "paused", "resumed", "cleanup"} <= traces.keys()
    assert list(traces["cleanup"].x) == [datetime(2026, 11, 23, 12, 5)]


def test_the_timeline_is_in_the_zone_that_it_names() -> None:
    rows = frame(stats.TIMELINE, bar("a", 0, 5), mark("boot", "a", 1))
    begins = datetime(2026, 11, 23, 12, tzinfo=UTC)

    figure = figures.timeline(rows, begins=begins, ends=begins + timedelta(hours=1), zone="Asia/Kolkata")

    traces = {trace.name: trace for trace in figure.data}
    assert "[Asia/Kolkata]" in figure.layout.title.text
    assert figure.layout.xaxis.title.text == "time [Asia/Kolkata]"
    assert list(traces["completed"].base) == [datetime(2026, 11, 23, 17, 30)]
    assert list(traces["started"].x) == [datetime(2026, 11, 23, 17, 31)]
    assert figure.layout.xaxis.range[0] == datetime(2026, 11, 23, 17, 30)
    assert "[UTC]" in figures.timeline(rows).layout.title.text


def test_many_servers_keep_the_busiest_lanes() -> None:
    rows = [bar(f"node-{number:03}", 0, 1) for number in range(200)] + [bar("node-150", 2, 3)]

    figure = figures.timeline(frame(stats.TIMELINE, *rows))

    assert len(figure.layout.yaxis.ticktext) == 60
    assert "node-150" in figure.layout.yaxis.ticktext
    assert "140 more servers" in figure.layout.title.text


def test_the_timeline_tells_every_attempt_once(db: Database) -> None:
    node = boot(db, "node-a", lease_seconds=600.0)
    good, bad = files(db, "good.csv", "bad.csv")
    claims.complete(db, id=good, token=claims.claim_one(db, node, good).token, result=None)
    for _ in range(3):
        fail(db, bad, claims.claim_one(db, node, bad).token)
    files(db, "runs.csv")
    claim(db, node)
    queue.pause(db, "*", actor="ann")

    rows = stats.records(stats.timeline(db))

    told = [(row["original_filename"], row["attempt"], row["outcome"], row["followed"]) for row in rows]
    assert [line for line in told if line[0]] == [
        ("good.csv", 1, "completed", None),
        ("bad.csv", 1, "raised", "queued"),
        ("bad.csv", 2, "raised", "queued"),
        ("bad.csv", 3, "raised", "failed"),
        ("runs.csv", 1, "processing", None),
    ]
    assert [row["kind"] for row in rows if row["kind"] != "attempt"] == ["migrate", "boot", "pause"]
    assert not any(row["overlaps"] for row in rows)


def test_a_completion_stays_on_the_timeline_when_it_is_requeued(db: Database) -> None:
    node = boot(db, "node-a", lease_seconds=600.0)
    (id,) = files(db, "good.csv")
    claims.complete(db, id=id, token=claims.claim_one(db, node, id).token, result=None)
    before = stats.timeline(db)
    queue.requeue(db, [id], actor="ann")

    after = stats.timeline(db)

    bars = ["server_id", "file_id", "attempt", "started_at", "outcome"]
    ours = after[after["kind"] == "attempt"][bars].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, before[before["kind"] == "attempt"][bars].reset_index(drop=True))


def test_a_cleanup_is_told_and_an_older_processors_failure_too(db: Database) -> None:
    id, _ = claimed(db, "node-a")
    put(db, id, "processing_token = NULL, processing_epoch = NULL, processing_started_at = now() - interval '2 h'")
    queue.cleanup(db, actor="ann")
    assert attempts(db, id)
    (legacy,) = files(db, "legacy.csv")
    put(db, legacy, "processing_status = 'failed', processing_server_id = 'old', processing_errors = 'why', "
                    "processing_started_at = now() - interval '9 min', processing_completed_at = now()")  # fmt: skip

    rows = [row for row in stats.records(stats.timeline(db)) if row["kind"] == "attempt"]

    assert [(row["server_id"], row["outcome"], row["cleaned"]) for row in rows] == [
        ("node-a", "timeout", True),
        ("old", "failed", False),
    ]


def test_attempts_at_one_file_at_the_same_time_overlap(db: Database) -> None:
    (id,) = files(db, "twice.csv")
    with db.connection() as connection:
        for number, (begin, end) in enumerate(((50, 30), (40, 20), (20, 10)), 1):
            connection.execute(
                (
                    f"INSERT INTO {db.names['events']} "
                    "(kind, outcome, next_status, file_id, server_id, attempt, started_at, at) VALUES "
                    f"('attempt', 'raised', 'queued', '{id}', 'node-{number}', {number}, "
                    f"now() - {begin} * interval '1 min', now() - {end} * interval '1 min')"
                ).encode()
            )

    rows = stats.records(stats.timeline(db))

    assert [row["overlaps"] for row in rows if row["kind"] == "attempt"] == [True, True, False]


def test_the_window_and_the_number_of_rows_are_kept(db: Database) -> None:
    with db.connection() as connection:
        connection.execute(
            (
                f"INSERT INTO {db.settings.files} (original_filename, processing_status, processing_server_id, "
                "processing_started_at, processing_completed_at) SELECT 'f-' || n, 'completed', 'a', "
                "now() - (n + 1) * interval '1 min', now() - n * interval '1 min' FROM generate_series(1, 300) AS n"
            ).encode()
        )

    def names(**values: Any) -> list[str]:
        frame = stats.timeline(db, **values)
        return list(frame[frame["kind"] == "attempt"]["original_filename"])

    assert names(since_seconds=630) == [f"f-{number}" for number in range(10, 0, -1)]
    assert names(since_seconds=1230, until_seconds=630) == [f"f-{number}" for number in range(20, 9, -1)]
    assert len(stats.timeline(db, since_seconds=86400, limit=100)) == 100


@pytest.mark.parametrize("window", [(0, 0), (60, 60), (60, 3600), (-1, 0), (float("inf"), 0), (60, float("nan"))])
def test_a_window_that_holds_nothing_is_refused(db: Database, window: tuple[float, float]) -> None:
    with pytest.raises(SettingError):
        stats.timeline(db, since_seconds=window[0], until_seconds=window[1])
