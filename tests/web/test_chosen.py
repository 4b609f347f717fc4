"""What is chosen is in the address: reload, Back and a colleague's browser show the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from opskit.database import Database
from tests.support.browsing import seed
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import Open, choose, click, execute, fine, old_claim, said


def id_of(db: Database, name: str) -> str:
    (row,) = execute(db, "SELECT id::text AS id FROM {files} WHERE original_filename = %s", name)
    return str(row["id"])


def test_files_that_the_address_names_are_ticked(open_page: Open, full: Database) -> None:
    app = open_page("files.py")
    assert not [button for button in app.button if button.key == "requeue_several"]

    choose(app, "tick", id_of(full, "bad.csv"), id_of(full, "worse.csv"), "no such file")

    assert app.button(key="requeue_several").label == "Requeue 2 files…"


def test_another_group_of_failures_takes_no_tick_along(open_page: Open, full: Database) -> None:
    app = open_page("failures.py")
    choose(app, "group", "line # is $bad$")
    choose(app, "tick", id_of(full, "bad.csv"))
    assert app.button(key="requeue_members").label == "Requeue 1 ticked file…"

    (groups,) = [table for table in app.dataframe if str(table.key).startswith("group ")]
    app.session_state[groups.key] = {"selection": {"rows": [], "columns": [], "cells": []}}
    app.query_params["group"] = "another"
    app.query_params["tick"] = []
    app.run()

    assert fine(app)
    assert not [button for button in app.button if button.key == "requeue_members"]


def boxes(app: object) -> dict[str, bool]:
    return {box.label: bool(box.value) for box in app.checkbox if str(box.key).startswith("end ")}  # type: ignore[attr-defined]


def test_ticks_of_the_cleanup_are_in_the_address_where_they_are_not_as_they_come(open_page: Open, db: Database) -> None:
    old_claim(db, "one.csv", 120)
    old_claim(db, "two.csv", 120)
    app = open_page("cleanup.py")
    assert "otherwise" not in app.query_params

    next(box for box in app.checkbox if box.label == "two.csv").uncheck().run()
    shared = str(app.query_params["otherwise"])

    assert shared.endswith(" dead")
    colleague = open_page("cleanup.py")
    choose(colleague, "otherwise", shared)
    assert boxes(colleague) == {"one.csv": True, "two.csv": False}
    assert colleague.button(key="end_claims").label == "End 1 claim…"
    choose(colleague, "otherwise")
    assert boxes(colleague) == {"one.csv": True, "two.csv": True}
    click(app, "tick_all")
    assert not app.query_params.get("otherwise")


def test_a_tick_for_one_verdict_stands_for_no_other(open_page: Open, db: Database) -> None:
    claim = old_claim(db, "one.csv", 120)

    app = open_page("cleanup.py")
    choose(app, "otherwise", f"{claim} silent", f"{claim} alive but long")

    assert boxes(app) == {"one.csv": True}


def test_the_bar_that_the_address_names_stands_out_and_leads_to_its_file(open_page: Open, full: Database) -> None:
    bad = id_of(full, "bad.csv")
    app = open_page("timeline.py")

    choose(app, "bar", bad)

    (link,) = [link.proto.label for link in app.get("page_link") if link.proto.page == "file"]
    assert "bad" in link
    (chart,) = app.get("plotly_chart")
    marked = {
        trace["name"]: [trace["customdata"][place][0] for place in trace["selectedpoints"]]
        for trace in json.loads(chart.proto.spec)["data"]
        if trace.get("customdata")
    }
    assert marked["failed"] == [bad]
    assert not any(files for kind, files in marked.items() if kind != "failed")


def test_a_bar_of_a_file_that_is_not_there_is_no_error(open_page: Open, full: Database) -> None:
    app = open_page("timeline.py")

    choose(app, "bar", "no such file", "'\"<b>")

    assert "attempt" in said(app)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_tick_survives_a_reload_and_back_takes_it_away(open_tab: Callable[..., Page], db: Database) -> None:
    seed(db)
    page = open_tab(path="/files?state=failed")
    table = page.get_by_test_id("stDataFrame").locator("visible=true")
    expect(table).to_have_count(1)
    # The table is drawn on a canvas: the box of its first row has a place, but no element.
    table.click(position={"x": 16, "y": 52})
    requeue = page.get_by_role("button", name="Requeue 1 file…")
    expect(requeue).to_be_enabled()
    expect(page).to_have_url(re.compile(r"tick=\d+"))

    page.reload()
    expect(requeue).to_be_enabled()
    table.click(position={"x": 16, "y": 87})
    expect(page.get_by_role("button", name="Requeue 2 files…")).to_be_enabled()

    page.go_back()

    expect(requeue).to_be_enabled()
    # The table shows what the address says: another tick adds to that.
    table.click(position={"x": 16, "y": 122})
    expect(page.get_by_role("button", name="Requeue 2 files…")).to_be_enabled()
