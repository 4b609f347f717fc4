"""Overview and Failures are narrowed to one lane, by choice and by address; nothing of it where there are no lanes."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from opskit import stats
from opskit.database import Database
from tests.queue.test_lanes import laned, queued
from tests.support.dashboard import Open, choose, click, fine, said, status, tables
from tests.support.nodes import ask


@pytest.fixture
def failed(db: Database) -> dict[str, list[str]]:
    """Two failed files of lane north and three of south with one error, one queued file of each, by lane."""
    laned(db)
    ids = {"north": queued(db, "north", 3), "south": queued(db, "south", 4)}
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_status = 'failed', processing_completed_at = now(), "
        "processing_started_at = now() - interval '1 min', processing_attempt = 1, processing_server_id = 'node-a', "
        "processing_errors = 'ValueError: bad line 7' WHERE right(original_filename, 1) <> '0'",
    )
    return ids


def drawn(app: AppTest, column: str) -> list[dict[str, str]]:
    """The lines of the table that begins with a column, as their words."""
    tables = [each.value for each in app.html if f">{column}</th>" in each.value]
    lines = []
    for line in re.findall(r"<tr>(.*?)</tr>", tables[0], re.DOTALL)[1:]:
        cells = re.findall(r'<td[^>]*data-label="([^"]*)"[^>]*>(.*?)</td>', line, re.DOTALL)
        lines.append({label: re.sub("<[^>]*>", "", cell).strip() for label, cell in cells})
    return [line for line in lines if column in line]


def test_the_overview_tells_each_lane_and_is_narrowed_to_one(
    open_page: Open, db: Database, failed: dict[str, list[str]]
) -> None:
    app = open_page()
    lanes = {line["Lane"]: line for line in drawn(app, "Lane")}
    assert (lanes["north"]["Queued"], lanes["north"]["Failed, 1 h"]) == ("1", "2")
    assert lanes["south"]["Share of node time"] == "60 %"
    assert "files?lane=south" in "".join(each.value for each in app.html)

    app.selectbox(key="lane").set_value("north").run()
    assert fine(app)

    assert [line["Lane"] for line in drawn(app, "Lane")] == ["north"]
    assert {line["Server"]: line["all"] for line in drawn(app, "Server")} == {"node-a": "2", "(queue)": "1"}
    assert "Files per server and state of lane north" in [heading.value for heading in app.subheader]


def test_the_failures_of_one_lane_are_shown_and_queued_again_alone(
    open_page: Open, db: Database, failed: dict[str, list[str]]
) -> None:
    app = open_page("failures.py")
    app.selectbox(key="lane").set_value("north").run()
    assert fine(app)
    choose(app, "group", "ValueError: bad line #")
    assert "south-1" not in tables(app)
    assert "north-1" in tables(app)

    click(app, "requeue_group")
    assert "with this error of lane north" in said(app)
    click(app, "confirm_button")

    assert {status(db, id) for id in failed["north"]} == {"queued"}
    assert [status(db, id) for id in failed["south"]] == ["queued", "failed", "failed", "failed"]


def test_the_address_names_the_lane_whose_failures_are_shown(
    open_page: Open, db: Database, failed: dict[str, list[str]]
) -> None:
    app = open_page("doctor.py")
    app.query_params["lane"] = "west"
    app.switch_page("views/failures.py").run()

    assert fine(app)
    assert app.selectbox(key="lane").value == "west"
    assert "No failed file of lane west" in said(app)
    assert len(stats.failures(db)) == 1


@pytest.mark.parametrize("page", ["overview.py", "failures.py"])
def test_a_page_of_a_table_without_lanes_has_no_word_of_lanes(open_page: Open, full: Database, page: str) -> None:
    app = open_page(page)

    assert not [box for box in app.selectbox if box.key == "lane"]
    assert "Lanes" not in [heading.value for heading in app.subheader]
