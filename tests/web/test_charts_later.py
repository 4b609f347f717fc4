"""The Overview's numbers do not wait for its charts: these come once it stands, and stay while it does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from opskit.database import Database
from tests.support.chromium import CHROMIUM, PATIENCE
from tests.support.dashboard import execute

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
CHARTS = ".js-plotly-plot", "[data-testid=stVegaLiteChart]"
FIRST_DRAWN = """() => {
    window.firsts = {}
    const note = () => {
        for (const [name, one] of [["number", "[data-testid=stMetricValue]"], ["chart", ".js-plotly-plot"]])
            if (!(name in window.firsts) && document.querySelector(one)) window.firsts[name] = performance.now()
        requestAnimationFrame(note)
    }
    note()
}"""


@pytest.fixture
def ended(db: Database) -> Database:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_queued_at,"
        " processing_started_at, processing_completed_at)"
        " SELECT 'f-' || n, 'completed', 'a', now() - n * interval '3 min', now() - n * interval '3 min',"
        " now() - n * interval '3 min' FROM generate_series(1, 10) AS n",
    )
    return db


def test_the_numbers_stand_before_the_charts_which_come_by_themselves(
    open_tab: Callable[..., Page], ended: Database
) -> None:
    page = open_tab()
    page.add_init_script(f"({FIRST_DRAWN})()")
    page.reload()

    for chart in CHARTS:
        expect(page.locator(chart).first).to_be_visible(timeout=PATIENCE)

    firsts = page.evaluate("window.firsts")
    assert firsts["number"] < firsts["chart"]


def test_a_dialog_over_the_overview_takes_no_chart_away(open_tab: Callable[..., Page], ended: Database) -> None:
    page = open_tab()
    expect(page.locator(CHARTS[0]).first).to_be_visible(timeout=PATIENCE)
    page.locator(CHARTS[0]).first.evaluate("(chart) => { chart.dataset.same = 'yes' }")

    page.get_by_text("Pause all…").click()
    expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0, timeout=PATIENCE)

    expect(page.locator("[data-same=yes]")).to_be_visible()


def test_the_charts_come_where_the_numbers_stand_still(open_tab: Callable[..., Page], ended: Database) -> None:
    page = open_tab()
    expect(page.locator(CHARTS[0]).first).to_be_visible(timeout=PATIENCE)
    page.get_by_text("Live", exact=True).click()
    page.get_by_test_id("stTopNavLink").get_by_text("Doctor", exact=True).click()
    expect(page.locator(CHARTS[0])).to_have_count(0, timeout=PATIENCE)

    page.get_by_test_id("stTopNavLink").get_by_text("Overview", exact=True).click()

    expect(page.locator(CHARTS[0]).first).to_be_visible(timeout=PATIENCE)
