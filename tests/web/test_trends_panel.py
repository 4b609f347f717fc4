"""The trends on the Overview."""

from __future__ import annotations

import json

from opskit import queue
from opskit.database import Database
from tests.support.dashboard import Open, execute, fine, said


def some_ended(db: Database) -> None:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_queued_at,"
        " processing_started_at, processing_completed_at)"
        " SELECT 'f-' || n, CASE n %% 10 WHEN 0 THEN 'failed' ELSE 'completed' END, 'a', now() - n * interval '3 min',"
        " now() - n * interval '3 min', now() - n * interval '3 min' FROM generate_series(1, 100) AS n",
    )


def test_the_overview_draws_the_trends_of_the_time_that_is_chosen(open_page: Open, db: Database) -> None:
    some_ended(db)
    queue.pause(db, actor="ann", reason="disk full")

    app = open_page()
    assert "19 files ended, 1 failed (5.3 %)" in said(app) or "20 files ended, 2 failed (10 %)" in said(app)
    (chart,) = app.get("plotly_chart")
    assert "paused all nodes by ann: disk full" in json.dumps(json.loads(chart.proto.spec), ensure_ascii=False)

    app.segmented_control(key="trend").set_value("6 h").run()
    assert fine(app)
    assert "100 files ended, 10 failed (10 %)" in said(app)


def test_no_trend_is_drawn_of_nothing(open_page: Open, db: Database) -> None:
    app = open_page()

    assert "Nothing has ended in this time." in said(app)
    assert not app.get("plotly_chart")
