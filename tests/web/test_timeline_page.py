"""The timeline of the page."""

from __future__ import annotations

import json

import pytest

from opskit.database import Database
from opskit.web.dashboard import times
from tests.support.dashboard import Open, click, execute, said, tables

# -- timeline, doctor, failures, history ----------------------------------------------------------


def test_the_timeline_is_drawn_in_the_viewers_zone(
    open_page: Open, full: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "zone", lambda: "Asia/Kolkata")

    app = open_page("timeline.py")

    (chart,) = app.get("plotly_chart")
    assert json.loads(chart.proto.spec)["layout"]["xaxis"]["title"]["text"] == "time [Asia/Kolkata]"


def test_the_timeline_shows_attempts_and_marks_and_cries_over_overlaps(open_page: Open, full: Database) -> None:
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    for number in (1, 2):
        execute(
            full,
            "INSERT INTO {events} (at, kind, outcome, next_status, file_id, server_id, attempt, started_at) "
            "VALUES (now() - interval '20 min', 'attempt', 'raised', 'queued', %s, %s, %s, now() - interval '30 min')",
            bad["id"], f"node-{number}", number,
        )  # fmt: skip

    app = open_page("timeline.py")

    assert "2 attempts** overlap" in said(app)
    assert "bad.csv" in tables(app)
    assert "paused all nodes" in tables(app)
    click(app, "earlier")
    assert "ends 30 min ago" in said(app)
    assert "2 attempts** overlap" in said(click(app, "earlier")) or "0 attempts" in said(app)
