"""What operators come to the page for, in a real browser, on screens of every width, in light and dark."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from opskit import queue
from opskit.database import Database
from opskit.settings import Settings
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import execute
from tests.support.nodes import add_files, running_nodes, status, until
from tests.support.tables import attempts, boot

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
Tab = Callable[..., Page]
FOUR = ["node-1", "node-2", "node-3", "node-4"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of every test; the page shows and searches the application's columns, too."""
    return dataclasses.replace(settings, show_columns="*")


def screen(width: int) -> dict[str, Any]:
    """A screen of this width."""
    return {"viewport": {"width": width, "height": 844 if width < 500 else 1080}}


def table(page: Page) -> Any:
    """The one table of a page; it is drawn on a canvas: its boxes have a place, but no element."""
    found = page.get_by_test_id("stDataFrame").locator("visible=true")
    expect(found).to_have_count(1)
    return found


# -- nodes -----------------------------------------------------------------------------------------


@pytest.fixture
def paused(db: Database) -> Database:
    """Four nodes of which each was paused by its name, and one that claims."""
    for name in FOUR:
        boot(db, name)
        queue.pause(db, name, actor="ann", reason="a new disk")
    return db


def states(db: Database) -> list[str]:
    return [row["state"] for row in db.run("nodes")]


def test_four_paused_nodes_are_resumed_in_three_clicks(open_tab: Tab, paused: Database) -> None:
    page = open_tab("dark", path="/nodes", **screen(1440))

    table(page).click(position={"x": 16, "y": 17})  # the box of the head: all of them
    page.get_by_role("button", name="Resume 4…").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume 4 nodes").click()

    expect(page.get_by_test_id("stToast")).to_contain_text("Resumed 4 nodes")
    assert states(paused) == ["live"] * 4
    assert not paused.run("pauses")
    expect(page.get_by_text("4 live")).to_be_visible()


def test_four_paused_nodes_are_resumed_by_two_taps_on_a_phone(open_tab: Tab, paused: Database) -> None:
    page = open_tab(**screen(390))

    page.get_by_role("button", name="Resume 4…").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume 4 nodes").click()

    expect(page.get_by_test_id("stToast")).to_contain_text("Resumed 4 nodes")
    assert states(paused) == ["live"] * 4
    expect(page.get_by_text("Nothing needs you now: 4 of 4 nodes claim")).to_be_visible()


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1920, "light")])
def test_a_customer_s_file_is_found_by_a_column_of_the_application_and_queued_again(
    open_tab: Tab, db: Database, width: int, scheme: str
) -> None:
    execute(db, "ALTER TABLE {files} ADD COLUMN customer_id integer")
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_completed_at, customer_id) "
        "VALUES ('theirs.csv', 'failed', now(), 1044), ('theirs too.csv', 'completed', now(), 1044), "
        "('another''s.csv', 'failed', now(), 10440)",
    )
    page = open_tab(scheme, path="/files", **screen(width))

    search = page.get_by_role("textbox", name="Search")
    search.fill("customer_id:1044 state:failed")
    search.press("Enter")
    expect(page.get_by_text("All 1 file,")).to_be_visible()
    page.get_by_role("button", name="Requeue all found").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("theirs.csv")).to_be_visible()
    dialog.get_by_role("button", name="Requeue 1 file").click()

    expect(page.get_by_test_id("stToast")).to_contain_text("1 file requeued")
    rows = execute(db, "SELECT original_filename AS name, processing_status AS state FROM {files} ORDER BY id")
    assert [row["state"] for row in rows] == ["queued", "completed", "failed"], rows


def test_a_running_file_is_cancelled_from_the_page_and_seen_to_end_on_another_screen(
    open_tab: Tab, db: Database, tmp_path: Path
) -> None:
    (id,) = add_files(db, "endless.csv")
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", act="slow", ACT_SECONDS="3600")
        until(lambda: status(db, id) == "processing")
        child = node.own_child()
        page = open_tab(path=f"/file?id={id}", **screen(390))
        other = open_tab("dark", path=f"/file?id={id}", **screen(1920))
        for one in (page, other):
            expect(one.get_by_role("progressbar")).to_be_visible()
            expect(badge(one, "processing")).to_be_visible()

        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel 1 file").click()

        expect(page.get_by_test_id("stToast")).to_contain_text("ancel")
        for one in (page, other):
            # Nobody reloads it: the page renews itself.
            expect(badge(one, "failed")).to_be_visible(timeout=15_000)
            expect(one.get_by_role("button", name="Requeue…")).to_be_enabled()
        until(lambda: node.child() != child, what="the end of the processor")
    assert [attempt["outcome"] for attempt in attempts(db, id)] == ["cancelled"]


def badge(page: Page, state: str) -> Any:
    return page.locator(".stMarkdownBadge").filter(has_text=re.compile(f"^{state}$"))


def test_a_copied_link_shows_a_colleague_the_same_rows_and_ticks(open_tab: Tab, db: Database) -> None:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_completed_at) "
        "SELECT CASE WHEN n IN (2, 4, 6, 8) THEN 'invoice-' ELSE 'order-' END || n, 'failed', "
        "now() - n * interval '1 minute' "
        "FROM generate_series(1, 8) AS n",
    )
    page = open_tab(path="/files?state=failed", permissions=["clipboard-read", "clipboard-write"], **screen(1920))
    search = page.get_by_role("textbox", name="Search")
    search.fill("invoice")
    search.press("Enter")
    expect(page.get_by_text("All 4 files,")).to_be_visible()
    for place in (1, 3):
        table(page).click(position={"x": 16, "y": 17 + 35 * place})
    expect(page.get_by_role("button", name="Requeue 2 files…")).to_be_enabled()

    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    path = copied.split("/", 3)[3]
    assert "tick=" in path

    for width in (1440, 390):
        colleague = open_tab("dark", path=f"/{path}", **screen(width))
        expect(colleague.get_by_role("button", name="Requeue 2 files…")).to_be_enabled()
        expect(colleague.get_by_text("All 4 files,")).to_be_visible()
        if width == 1440:
            rows = [("invoice-2", True), ("invoice-4", False), ("invoice-6", True), ("invoice-8", False)]
            shows(page, rows)
            shows(colleague, rows)
        colleague.get_by_role("button", name="Requeue 2 files…").click()
        expect(colleague.get_by_role("dialog").get_by_role("listitem")).to_have_text(["invoice-2", "invoice-6"])


def shows(page: Page, wanted: list[tuple[str, bool]]) -> None:
    """Wait until the page's table has these rows, as screen readers have them: name, and whether it is ticked."""
    rows = table(page).locator("tbody tr")
    expect(rows).to_have_count(len(wanted))
    for place, (name, ticked) in enumerate(wanted):
        expect(rows.nth(place).locator("td").first).to_have_text(name)
        expect(rows.nth(place)).to_have_attribute("aria-selected", str(ticked).lower())
