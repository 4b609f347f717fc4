"""A phone shows rows as cards, and nothing of a page lies beyond its edge; wide screens show tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from opskit import stats
from opskit.database import Database
from tests.support.browsing import boxes, seed, widest
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import execute

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}
PAGES = {"": "Nodes", "nodes": "node-1", "files": "done-", "failures": "bad"}
LONG = "a-node-of-a-cloud-with-a-long-name-4242-1795844599017-eu-central-1"


def crowded(db: Database) -> None:
    """Something of everything, with names that no phone is wide enough for."""
    seed(db)
    execute(db, "UPDATE {nodes} SET server_id = %s WHERE server_id = 'node-2'", LONG)
    execute(db, "UPDATE {files} SET original_filename = repeat('x', 200) WHERE original_filename = 'stale.csv'")
    execute(db, "UPDATE {files} SET processing_completed_at = now() WHERE processing_status = 'failed'")


def widths(page: Page) -> tuple[int, int]:
    """How wide the page is, and the window."""
    whole, main, window = page.evaluate(
        "[document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth, innerWidth]"
    )
    return max(whole, main), window


def test_a_phone_shows_cards_and_never_scrolls_sideways(open_tab: Callable[..., Page], url: str, db: Database) -> None:
    crowded(db)
    page = open_tab(**PHONE)

    for path, shown in PAGES.items():
        page.goto(f"{url}/{path}")
        cards = page.locator(".rows").locator("visible=true").first
        expect(cards).to_be_visible()
        expect(page.locator(".rows tr").filter(has_text=shown).locator("visible=true").first).to_be_visible()
        expect(page.get_by_test_id("stDataFrame").locator("visible=true")).to_have_count(0)
        whole, window = widths(page)
        assert whole <= window, path
        buttons = boxes(page.get_by_role("button").locator("visible=true"))
        assert [box for box in buttons if box["x"] < 0 or box["x"] + box["width"] > window] == [], path

    for path in ("cleanup", "timeline", "doctor", "history"):
        page.goto(f"{url}/{path}")
        expect(page.get_by_text(re.compile("^as of "))).to_have_count(1)
        assert widths(page)[0] <= widths(page)[1], path


def test_a_card_leads_to_its_node_its_file_and_its_failures(
    open_tab: Callable[..., Page], url: str, db: Database
) -> None:
    crowded(db)
    page = open_tab(**PHONE, path="/nodes")

    page.get_by_role("link", name="node-1").click()
    expect(page).to_have_url(f"{url}/node?id=node-1")
    expect(page.get_by_role("button", name="Drain…")).to_be_in_viewport()

    page.goto(f"{url}/failures")
    page.get_by_role("link", name="bad").click()
    expect(page.get_by_role("button", name="Requeue 6 files…")).to_be_visible()

    page.goto(f"{url}/files?state=failed")
    page.get_by_role("link", name="done-10").click()
    file = next(row["id"] for row in stats.records(stats.files(db)) if row["original_filename"] == "done-10")
    expect(page).to_have_url(f"{url}/file?id={file}")
    expect(page.get_by_role("button", name="Requeue…")).to_be_in_viewport()


@pytest.mark.parametrize("width", [1440, 1920])
def test_a_wide_screen_shows_tables_over_its_whole_width(
    open_tab: Callable[..., Page], url: str, db: Database, width: int
) -> None:
    crowded(db)
    page = open_tab(viewport={"width": width, "height": 1080})

    for path in ("nodes", "files", "failures"):
        page.goto(f"{url}/{path}")
        expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
        expect(page.locator(".rows.phone").locator("visible=true")).to_have_count(0)
        assert widest(page, page.get_by_test_id("stDataFrame"))["width"] > 0.85 * width, path
        assert widths(page)[0] <= width


def test_no_page_says_an_error_in_the_console_whichever_way_it_is_opened(
    open_tab: Callable[..., Page], url: str, db: Database
) -> None:
    seed(db)
    file = stats.records(stats.files(db, status="failed"))[0]["id"]

    # At its end `open_tab` refuses any error in the console.
    for path in ("/", "/nodes", "/files?state=failed", "/failures", "/cleanup", "/timeline", "/doctor", "/history",
                 f"/file?id={file}", "/node?id=node-1"):  # fmt: skip
        refused: list[str] = []
        page = open_tab(path=path)
        page.on("response", lambda response, seen=refused: response.status >= 400 and seen.append(response.url))
        page.reload()
        expect(page.get_by_text(re.compile("^as of "))).to_have_count(1)
        assert page.url == url + path
        assert refused == []
        page.context.close()
