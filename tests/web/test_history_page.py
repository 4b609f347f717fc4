"""History: one row an act, its files by name, and what can be undone of it."""

from __future__ import annotations

from opskit import queue
from opskit.database import Database
from tests.support.dashboard import Open, choose, click, execute, fine, old_claim, said, status, tables

MANY = (
    "INSERT INTO {files} (original_filename, processing_status, processing_completed_at, processing_errors) "
    "SELECT 'f-' || n || '.csv', 'failed', now(), 'bad' FROM generate_series(1, 200) AS n RETURNING id::text AS id"
)


def act(db: Database, kind: str) -> str:
    return str(next(row["act"] for row in db.run("acts", row_limit=10) if row["kind"] == kind))


def test_one_requeue_of_two_hundred_files_is_one_row_with_names(open_page: Open, db: Database) -> None:
    queue.requeue(db, [row["id"] for row in execute(db, MANY)], actor="ann", reason="parser mended")
    app = open_page("history.py")

    row, _migration = app.dataframe[0].value.to_dict("records")
    assert (row["Who"], row["What"], row["Why"]) == ("ann", "requeued 200 files", "parser mended")
    assert "f-1.csv" in row["Files"]
    assert "and 195 more" in row["Files"]

    choose(app, "act", act(db, "requeue"))

    assert "200 failed → queued" in said(app)
    assert len(app.dataframe[1].value) == 200
    assert "f-200.csv" in app.dataframe[1].value.to_string()
    assert not [button for button in app.button if button.key == "undo"]


def test_what_a_cleanup_failed_is_queued_again_but_nothing_that_moved_since(open_page: Open, db: Database) -> None:
    kept, moved = old_claim(db, "kept.csv", 120), old_claim(db, "moved.csv", 120)
    queue.cleanup(db, actor="ann", reason="old processor stopped")
    queue.requeue(db, [moved], actor="bob")
    app = open_page("history.py")
    choose(app, "act", act(db, "cleanup"))
    assert app.subheader[0].value == "ann cleaned up 2 claims"
    assert app.button(key="undo").label == "Undo: Requeue 1 file…"

    click(app, "undo")
    assert "1 file would be queued again; 1 left alone, because something has happened since." in said(app)
    assert status(db, kept) == "failed"
    click(app, "confirm_button")

    assert "1 file queued again; 1 left alone, because something has happened since." in said(app)
    assert status(db, kept) == "queued"
    (event,) = db.run("events", file_id=kept, kind="requeue", row_limit=9)
    assert event["reason"].startswith("undoes act ")


def test_what_was_paused_is_resumed_from_the_history(open_page: Open, full: Database) -> None:
    app = open_page("history.py")
    choose(app, "act", act(full, "pause"))

    click(click(app, "undo"), "confirm_button")

    assert "All nodes resumed." in said(app)
    assert [row["scope"] for row in full.run("pauses")] == ["node-4"]
    assert "nothing of it is left to undo" in said(app)


def test_the_history_tells_what_people_did_from_what_nodes_did(open_page: Open, full: Database) -> None:
    execute(
        full,
        "INSERT INTO {events} (kind, outcome, next_status, server_id, reason, actor, details) "
        """VALUES ('attempt', 'orphaned', 'queued', 'node-2', 'Orphaned', 'node-1', '{{"cleanup": true}}')""",
    )
    app = open_page("history.py")
    people = app.dataframe[0].value["Who"].tolist()
    assert "node-1" not in people
    assert people
    assert "disk *full*" in tables(app)

    app.pills(key="kind").set_value("acts").run()
    assert fine(app)
    rows = app.dataframe[0].value
    assert "node-1" in rows["Who"].tolist()
    assert set(rows[rows["Who"] != "node-1"]["Who"]) >= set(people)

    app.pills(key="kind").set_value("attempt").run()
    assert fine(app)
    assert "node-2" in tables(app)
    assert "Orphaned" in tables(app)
    assert "disk *full*" not in tables(app)


def test_what_is_chosen_on_failures_and_the_timeline_is_in_the_address(open_page: Open, full: Database) -> None:
    failures = open_page("failures.py")
    choose(failures, "group", "line # is $bad$")
    failures.segmented_control(key="within").set_value("3600").run()
    assert "3600" in failures.query_params["within"]

    timeline = click(click(open_page("timeline.py"), "earlier"), "earlier")
    assert "2" in timeline.query_params["back"]
    assert "ends 1 h ago" in said(timeline)
    assert "back" not in click(timeline, "now").query_params
    # An address that somebody has mistyped is no error.
    choose(timeline, "back", "-3; x")
    choose(timeline, "back", "9" * 40)
