"""The keys and the shared address, in a real browser: one works without a mouse, and a colleague sees the same."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from opskit import queue
from opskit.database import Database
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import execute

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
FAILED = (
    "INSERT INTO {files} (original_filename, processing_status, processing_completed_at, processing_errors) "
    "SELECT 'f-' || n || '.csv', 'failed', now(), 'KeyError: amount' FROM generate_series(1, 3) AS n "
    "RETURNING id::text AS id"
)


def ready(page: Page) -> None:
    expect(page.locator("[data-copy-link]")).to_be_visible()
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def test_keys_lead_from_page_to_page_and_a_row_is_ticked_and_requeued(
    open_tab: Callable[..., Page], full: Database
) -> None:
    page = open_tab()
    ready(page)

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()

    page.keyboard.press("/")
    field = page.get_by_role("textbox", name="Search")
    expect(field).to_be_focused()
    page.keyboard.type("worse")
    page.keyboard.press("Enter")
    expect(page.get_by_text("All 1 file", exact=False)).to_be_visible()
    # A key that one types is no shortcut.
    expect(field).to_have_value("worse")

    for _ in range(15):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName === 'CANVAS'"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Space")
    requeue = page.get_by_role("button", name="Requeue 1 file…")
    expect(requeue).to_be_enabled()
    requeue.focus()
    page.keyboard.press("Enter")
    confirm = page.get_by_role("dialog").get_by_role("button", name="Requeue 1 file")
    confirm.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 file requeued.").first).to_be_visible()
    (worse,) = execute(full, "SELECT processing_status AS s FROM {files} WHERE original_filename = 'worse.csv'")
    assert worse["s"] == "queued"


def test_a_copied_link_shows_a_colleague_the_same(open_tab: Callable[..., Page], db: Database) -> None:
    queue.requeue(db, [row["id"] for row in execute(db, FAILED)], actor="ann", reason="parser mended")
    act = str(db.run("acts", row_limit=1)[0]["act"])
    page = open_tab(path=f"/history?act={act}", permissions=["clipboard-read", "clipboard-write"])
    expect(page.get_by_role("heading", name="ann requeued 3 files")).to_be_visible()

    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = urlsplit(page.evaluate("navigator.clipboard.readText()"))

    colleague = open_tab("dark", path=f"{copied.path}?{copied.query}")
    expect(colleague.get_by_role("heading", name="ann requeued 3 files")).to_be_visible()
    # Another act is chosen, and Back shows the one before.
    page.keyboard.press("3")
    expect(page.get_by_role("textbox", name="Search")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="ann requeued 3 files")).to_be_visible()
