"""All files that the page's filter finds are cancelled, expedited or queued again, as the dialog shows them."""

from __future__ import annotations

import pytest

from opskit import migration
from opskit.database import Database
from tests.support.dashboard import Open, click, execute, said

ACTS = ("requeue", "expedite", "cancel")


@pytest.fixture
def laned(db: Database) -> Database:
    """Two customers' files in every state; of customer 17 more than are shown at once."""
    execute(db, "ALTER TABLE {files} ADD COLUMN customer integer")
    migration.set_lanes(db, "customer", actor="test")
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, customer) "
        "SELECT 'of 17, ' || n, 'queued', 17 FROM generate_series(1, 230) AS n UNION ALL "
        "SELECT 'ended', 'failed', 17 UNION ALL SELECT 'of 18', 'queued', 18",
    )
    return db


def states(db: Database) -> dict[tuple[int, str], int]:
    rows = execute(
        db, "SELECT customer, processing_status AS state, count(*) AS n FROM {files} GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return {(row["customer"], row["state"]): row["n"] for row in rows}


def test_all_files_of_a_lane_are_expedited_and_cancelled_also_those_that_are_not_shown_yet(
    open_page: Open, laned: Database
) -> None:
    app = open_page("files.py")
    app.selectbox(key="lane").set_value("17").run()

    asked = click(app, "expedite_found")
    assert "230 files** would take a place in the queue" in said(asked)
    assert "and 210 more" in said(asked)
    assert "230 files moved ahead" in said(click(asked, "confirm_button"))
    (ahead,) = execute(
        laned, "SELECT count(*) AS n FROM {files} WHERE processing_arrived_at IS NOT NULL AND customer = 17"
    )
    assert ahead["n"] == 230

    assert "Cancelled 230 files" in said(click(click(app, "cancel_found"), "confirm_button"))
    assert states(laned) == {(17, "failed"): 231, (18, "queued"): 1}


def test_what_a_search_finds_is_queued_again(open_page: Open, laned: Database) -> None:
    app = open_page("files.py")
    app.text_input(key="search").set_value("ended").run()

    assert [app.button(key=f"{act}_found").disabled for act in ACTS] == [False, True, True]
    assert "1 file requeued" in said(click(click(app, "requeue_found"), "confirm_button"))


def test_nothing_is_offered_for_all_files_where_no_filter_is_set(open_page: Open, laned: Database) -> None:
    app = open_page("files.py")

    assert not [button for button in app.button if button.key and button.key.endswith("_found")]


def test_a_filter_that_finds_more_than_one_act_takes_says_so(open_page: Open, laned: Database) -> None:
    execute(
        laned,
        "INSERT INTO {files} (original_filename, processing_status, processing_completed_at) "
        "SELECT 'many ' || n, CASE WHEN n = 5000 THEN 'completed' ELSE 'failed' END, now() - n * interval '1 second' "
        "FROM generate_series(1, 5001) AS n",
    )
    app = open_page("files.py")
    app.text_input(key="search").set_value("many").run()

    asked = click(app, "requeue_found")

    assert "5000 files** would go back to the queue" in said(asked).replace(",", "")
    assert "The filter finds more than 5,000 files: these are the first. Narrow the filter." in said(asked)
    assert states(laned)[None, "failed"] == 5000


def test_where_none_of_all_that_is_found_can_be_acted_on_nothing_is_asked(open_page: Open, laned: Database) -> None:
    execute(laned, "UPDATE {files} SET processing_status = 'completed', processing_completed_at = now()")
    app = open_page("files.py")
    app.text_input(key="search").set_value("of 17").run()

    assert "Of the files found none is queued or processing: there is nothing to cancel." in said(
        click(app, "cancel_found")
    )
