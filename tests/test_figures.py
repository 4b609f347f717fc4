"""The charts: the same colours everywhere, readable in light and dark, nothing lost to names."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from opskit import figures, stats


def frame(columns: dict[str, str], *rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns), dtype=object).astype(columns)


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


@pytest.mark.parametrize(
    ("chart", "columns"),
    [
        (figures.distribution, stats.DISTRIBUTION),
        (figures.throughput, stats.THROUGHPUT),
        (figures.nodes, stats.NODES),
        (figures.longest_running, stats.LONGEST_RUNNING),
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
