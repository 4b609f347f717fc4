"""The cleanup page and its dialogs: what they end, what they leave alone, and what they say."""

from __future__ import annotations

import psycopg
import pytest
from streamlit.testing.v1 import AppTest

from opskit.database import Database
from opskit.web.dashboard import readings
from tests.support.dashboard import Open, click, execute, fine, old_claim, said, status, tables

# -- the actions ----------------------------------------------------------------------------------


def test_the_cleanup_button_fails_what_is_stale_and_nothing_else(open_page: Open, db: Database) -> None:
    stale, young = old_claim(db, "stale.csv", 120), old_claim(db, "young.csv", 59)
    app = open_page()

    click(app, "cleanup")
    assert "1 claim" in said(app)
    assert "stale.csv" in tables(app)
    assert status(db, stale) == "processing"

    app.text_input(key="actor_name").set_value("ann")
    app.text_input(key="actor_reason").set_value("old processor is gone")
    click(app, "confirm_button")

    assert "1 ended, 0 pending a second look, 0 skipped because they moved" in said(app)
    assert status(db, stale) == "failed"
    assert status(db, young) == "processing"
    (event,) = db.run("events", file_id=stale, kind="", row_limit=10)
    assert event["actor"] == "ann (page, 127.0.0.1)"
    assert "Processing timeout" in event["reason"]


def test_a_claim_that_moves_while_the_dialog_is_open_is_skipped(open_page: Open, db: Database) -> None:
    stale = old_claim(db, "stale.csv", 120)
    app = click(open_page(), "cleanup")
    execute(db, "UPDATE {files} SET processing_status = 'completed' WHERE id::text = %s", stale)

    click(app, "confirm_button")

    assert "1 skipped because they moved" in said(app)
    assert status(db, stale) == "completed"


@pytest.mark.slow
def test_a_dead_nodes_claim_is_requeued_by_the_second_look(open_page: Open, full: Database) -> None:
    app = click(open_page(), "cleanup")
    assert "second look" in said(app)
    execute(full, "UPDATE {nodes} SET looked_at = looked_at - interval '3 seconds'")

    click(app, "confirm_button")

    assert "1 ended" in said(app)
    (two,) = execute(full, "SELECT processing_status FROM {files} WHERE original_filename = 'two.csv'")
    assert two["processing_status"] == "queued"


@pytest.mark.slow
def test_what_a_cleanup_failed_can_be_requeued_at_once(open_page: Open, db: Database) -> None:
    stale = old_claim(db, "stale.csv", 120)
    app = click(click(open_page(), "cleanup"), "confirm_button")
    assert status(db, stale) == "failed"

    click(click(app, "requeue_result"), "confirm_button")

    assert status(db, stale) == "queued"
    assert "1 file requeued" in said(app)


def test_nothing_to_clean_up_asks_for_nothing(open_page: Open, db: Database) -> None:
    app = click(open_page(), "cleanup")

    assert "No stale processing locks found" in said(app)
    assert not [button for button in app.button if button.key == "confirm_button"]


# -- cleanup, claim by claim ----------------------------------------------------------------------


def boxes(app: AppTest) -> dict[str, bool]:
    """The claims offered, by the names of their files."""
    return {box.label.replace("\\", ""): bool(box.value) for box in app.checkbox if str(box.key).startswith("end ")}


def expire(db: Database, server_id: str, *, seen: bool) -> None:
    """A node whose lease has run out; *seen*: a first look saw it before."""
    execute(
        db,
        "UPDATE {nodes} SET lease_until = now() - interval '5 min', looked_lease = NULL WHERE server_id = %s",
        server_id,
    )
    if seen:
        execute(
            db,
            "UPDATE {nodes} SET looked_lease = lease_until, looked_at = now() - interval '1 min' WHERE server_id = %s",
            server_id,
        )


def test_the_cleanup_page_says_of_each_claim_why_and_ticks_only_the_dead(open_page: Open, full: Database) -> None:
    old_claim(full, "stale.csv", 120)
    old_claim(full, "young.csv", 9)
    expire(full, "node-2", seen=True)
    execute(full, "UPDATE {files} SET processing_started_at = now() - interval '2 h' WHERE processing_epoch = 1")
    execute(full, "UPDATE {nodes} SET progress_at = now() - interval '90 min', stale_after_seconds = 3600")

    app = open_page("cleanup.py")

    assert boxes(app) == {"one *bold* [x](y).csv": False, "two.csv": True, "stale.csv": True}
    words = said(app)
    assert "node-2 is dead</b>: its lease ended 5 min" in words
    assert "node-1 is alive, but this takes long</b>: no progress for 1 h 30 min; the limit is 1 h" in words
    assert "Nobody knows legacy-1</b>, and it has held the file for 2 h; the limit is 1 h" in words
    assert "**2** dead · **1** alive but long" in words
    assert "young.csv" in tables(app)
    assert "unknown, still young" in tables(app)


def test_a_node_that_has_started_again_is_told_from_a_silent_one(open_page: Open, full: Database) -> None:
    execute(full, "UPDATE {nodes} SET epoch = 2, first_epoch = 2 WHERE server_id = 'node-1'")
    expire(full, "node-2", seen=False)

    app = open_page("cleanup.py")

    assert boxes(app) == {"one *bold* [x](y).csv": True, "two.csv": False}
    assert "node-1 has started again since, 1 h ago" in said(app)
    assert "<b>node-2 is silent</b>" in said(app)
    # Opening the page was the first look; by the second the silent one is dead.
    execute(full, "UPDATE {nodes} SET looked_at = looked_at - interval '3 s'")
    readings.forget()
    app.run()
    assert fine(app)
    assert "<b>node-2 is dead</b>" in said(app)


def test_a_dead_node_with_a_session_is_cut_off_or_frozen(open_page: Open, full: Database) -> None:
    expire(full, "node-2", seen=True)
    (boot,) = execute(full, "SELECT left(boot::text, 8) AS boot FROM {nodes} WHERE server_id = 'node-2'")
    name = f"opskit development {boot['boot']} node-2"

    with psycopg.connect(full.settings.database_url or "", application_name=name):
        app = open_page("cleanup.py")

    assert "Yet it still holds a database session" in said(app)
    assert "1 open" in said(app)


def test_only_what_is_approved_is_ended_and_can_be_requeued(open_page: Open, db: Database) -> None:
    one, two, moved = (old_claim(db, f"{name}.csv", 120) for name in ("one", "two", "moved"))
    app = open_page("cleanup.py")
    box = next(box for box in app.checkbox if box.label == "two.csv")
    box.uncheck().run()

    click(app, "end_claims")
    assert "2 claims** to end: 2 would fail" in said(app)
    execute(db, "UPDATE {files} SET processing_status = 'completed' WHERE id::text = %s", moved)
    click(app, "confirm_button")

    assert "1 ended, 0 pending a second look, 1 skipped because they moved" in said(app)
    assert "it has moved on by itself" in tables(app)
    assert [status(db, file_id) for file_id in (one, two, moved)] == ["failed", "processing", "completed"]
    click(click(app, "requeue_result"), "confirm_button")
    assert status(db, one) == "queued"


def test_all_claims_are_ticked_and_none(open_page: Open, full: Database) -> None:
    old_claim(full, "stale.csv", 120)
    expire(full, "node-2", seen=False)
    app = open_page("cleanup.py")

    assert all(boxes(click(app, "tick_all")).values())
    assert not any(boxes(click(app, "tick_none")).values())
    assert app.button(key="end_claims").disabled


def test_a_read_only_cleanup_page_takes_no_look(open_page: Open, full: Database) -> None:
    expire(full, "node-2", seen=False)

    open_page("cleanup.py", OPSKIT_READ_ONLY="1")

    (node,) = execute(full, "SELECT looked_lease FROM {nodes} WHERE server_id = 'node-2'")
    assert node["looked_lease"] is None
