"""What needs a person now has the button that mends it."""

from __future__ import annotations

import pytest

from opskit import queue, stats
from opskit.database import Database
from tests.support.dashboard import Open, click, execute, old_claim, said, status


def node(db: Database, name: str, *, state: str = "active", lease: str = "1 h", version: str = "0") -> None:
    execute(
        db,
        "INSERT INTO {nodes} (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds,"
        " state) VALUES (%s, gen_random_uuid(), 'host', 1, %s, now(), now(), now() + %s::interval, 3600, %s)",
        name, version, lease, state,
    )  # fmt: skip


def failed(db: Database, count: int, error: str, minutes_ago: float) -> None:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_attempt,"
        " processing_failures, processing_errors, processing_failure, processing_completed_at)"
        " SELECT 'bad-' || n, 'failed', 'a', 3, 3, 'Traceback: …',"
        " jsonb_build_object('attempt', 3, 'error', %s::text, 'place', ''), now() - %s * interval '1 minute'"
        " FROM generate_series(1, %s) AS n",
        error, minutes_ago, count,
    )  # fmt: skip


def press(open_page: Open, name: str) -> str:
    """Press the one button beside the findings whose label this is, confirm, and answer what is said."""
    app = open_page()
    (button,) = [one for one in app.button if str(one.key).startswith("mend ") and one.label == name]
    click(app, str(button.key))
    confirm = next(one for one in app.button if "confirm_button" in str(one.key))
    confirm.click().run()
    assert not app.exception
    return said(app)


def test_a_pause_of_all_is_resumed_beside_the_line_that_tells_of_it(open_page: Open, db: Database) -> None:
    node(db, "a")
    queue.pause(db, actor="ann", reason="disk full")

    assert "Resumed all nodes" in press(open_page, "Resume all…")
    assert not db.run("pauses")


def test_nodes_in_quarantine_are_resumed_together(open_page: Open, db: Database) -> None:
    for name in "abcd":
        node(db, name, state="quarantined")

    assert "Resumed 4 nodes" in press(open_page, "Resume 4…")
    assert set(stats.nodes(db)["state"]) == {"live"}


def test_a_node_paused_by_name_has_a_button_of_its_own(open_page: Open, db: Database) -> None:
    node(db, "a")
    queue.pause(db, actor="ann")
    queue.pause(db, "a", actor="ann")

    press(open_page, "Resume…")
    assert [row["scope"] for row in db.run("pauses")] == ["*"]


def test_dead_nodes_are_forgotten_together(open_page: Open, db: Database) -> None:
    for name in "ab":
        node(db, name, lease="-1 h")

    assert "Forgot 2 nodes" in press(open_page, "Forget 2…")
    assert not db.run("nodes")


def test_nodes_of_an_older_version_are_drained(open_page: Open, db: Database) -> None:
    node(db, "a", version="0.9")
    node(db, "b", version="0.10")

    press(open_page, "Drain…")
    assert [row["state"] for row in db.run("nodes")] == ["draining", "live"]


def test_stuck_claims_are_cleaned_up(open_page: Open, db: Database) -> None:
    stuck = old_claim(db, "old.csv", 90)

    assert "1 ended" in press(open_page, "Clean up…")
    assert status(db, stuck) == "failed"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("error", ["KeyError: 'amount'", "a `b` *c* [d](e) $f$"])
def test_the_whole_group_that_fails_now_is_queued_again(open_page: Open, db: Database, error: str) -> None:
    node(db, "a")
    failed(db, 4, error, minutes_ago=3)
    failed(db, 2, error, minutes_ago=3000)
    failed(db, 1, "ValueError: else", minutes_ago=3000)

    assert "6 files requeued" in press(open_page, "Requeue…")
    assert stats.failures(db)["file_count"].sum() == 1


def test_what_no_button_mends_leads_to_its_runbook(open_page: Open, db: Database) -> None:
    execute(db, "INSERT INTO {files} (original_filename, processing_status) VALUES ('next.csv', 'queued')")

    app = open_page()
    assert not [one for one in app.button if str(one.key).startswith("mend ")]
    assert "doctor?runbook=no-node-alive" in said(app)


def test_whoever_may_not_act_can_press_no_button(open_page: Open, db: Database) -> None:
    node(db, "a")
    queue.pause(db, actor="ann")

    app = open_page(OPSKIT_READ_ONLY="1")
    assert all(one.disabled for one in app.button if str(one.key).startswith("mend "))
    assert any(str(one.key).startswith("mend ") for one in app.button)
