"""Actions in a real browser: by keyboard, by dialog, by upload. Needs Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from opskit import stats
from opskit.database import Database
from tests.support.browsing import metric, seed
from tests.support.chromium import CHROMIUM, PATIENCE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def test_an_action_is_done_by_the_keyboard_alone(open_tab: Callable[..., Page], db: Database) -> None:
    page = open_tab()

    press_until(page, "Tab", "Pause all")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_text("This changes development")).to_be_visible(timeout=PATIENCE)
    press_until(page, "Tab", "Reason")
    page.keyboard.type("disk full")
    page.keyboard.press("Enter")  # must not confirm: it is what one presses after typing
    page.wait_for_timeout(1000)
    assert not db.run("pauses")
    press_until(page, "Tab", "Pause")
    page.keyboard.press("Enter")

    expect(page.get_by_test_id("stToast")).to_contain_text("All nodes paused", timeout=PATIENCE)
    (pause,) = db.run("pauses")
    assert pause["reason"] == "disk full"

    # Another dialog is left by Escape, and nothing is done; the pages are reached by keys, too.
    press_until(page, "Tab", "Resume all")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0, timeout=PATIENCE)
    assert db.run("pauses")
    press_until(page, "Tab", "Nodes")
    page.keyboard.press("Enter")
    expect(page).to_have_title("Nodes · development · opskit", timeout=PATIENCE)


def press_until(page: Page, key: str, name: str) -> None:
    """Press a key until what has the focus begins with this name, and can be seen to have it."""
    for _ in range(60):
        page.keyboard.press(key)
        focus = page.evaluate(
            """() => { const one = document.activeElement, style = getComputedStyle(one);
                       const name = one.getAttribute('aria-label') || one.innerText || '';
                       const label = one.labels && one.labels.length ? one.labels[0].innerText : '';
                       return [name.replace(/^[a-z_]+\\n/, '').trim() || label.trim(), label.trim()] }"""
        )
        if any(text.startswith(name) for text in focus):
            return
    raise AssertionError(f"{key} never reaches {name!r}")


def test_cleanup_by_the_dialog(open_tab: Callable[..., Page], db: Database) -> None:
    seed(db)
    page = open_tab()

    page.get_by_role("button", name="Clean up…").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("This changes development")).to_be_visible(timeout=PATIENCE)
    dialog.get_by_label("Your name").fill("ann")
    dialog.get_by_label("Reason").fill("old processor is gone")
    # The page goes on ticking behind it: the dialog must survive that.
    page.wait_for_timeout(6000)
    dialog.get_by_role("button", name="End 1 claim").click()

    expect(page.get_by_test_id("stToast")).to_contain_text("1 ended, 0 pending", timeout=PATIENCE)
    expect(dialog).to_have_count(0)
    now = db.one("concurrency", stale_after_seconds=3600)
    assert metric(page, "Failed") == str(now["failed"]) == "7"
    assert metric(page, "Processing") == str(now["processing"]) == "1"
    (event,) = db.run("events", file_id="", kind="attempt", row_limit=10)
    assert event["actor"] == "ann (page, 127.0.0.1)"


def test_a_group_of_failures_is_requeued(open_tab: Callable[..., Page], db: Database) -> None:
    seed(db)
    page = open_tab()
    page.get_by_role("link", name="Failures", exact=True).click()

    table = page.get_by_test_id("stDataFrame").locator("visible=true")
    expect(table).to_have_count(1, timeout=PATIENCE)
    # The table is drawn on a canvas: the box of its first row has a place, but no element.
    table.click(position={"x": 16, "y": 52})
    page.get_by_role("button", name="Requeue 6 files…").click()
    page.get_by_role("dialog").get_by_role("button", name="Requeue 6 files").click()

    expect(page.get_by_test_id("stToast")).to_contain_text("6 files requeued", timeout=PATIENCE)
    expect(page.get_by_text("No failed file.")).to_be_visible(timeout=PATIENCE)
    now = db.one("concurrency", stale_after_seconds=3600)
    assert (now["queued"], now["failed"]) == (7, 0)


def test_files_are_uploaded(open_tab: Callable[..., Page], db: Database) -> None:
    page = open_tab()
    page.get_by_role("link", name="Files", exact=True).click()
    page.get_by_role("button", name="Upload…").click()
    dialog = page.get_by_role("dialog")

    dialog.locator("input[type=file]").set_input_files(
        [  # type: ignore[arg-type]
            {"name": "a.csv", "mimeType": "text/csv", "buffer": b"1,2\n"},
            {"name": "b.csv", "mimeType": "text/csv", "buffer": b"3,4\n"},
        ]
    )
    dialog.get_by_role("button", name="Queue 2 files").click()

    expect(page.get_by_test_id("stToast")).to_contain_text("2 files queued", timeout=PATIENCE)
    assert {row["original_filename"] for row in files_of(db)} == {"a.csv", "b.csv"}


def files_of(db: Database) -> list[dict[str, object]]:
    return stats.records(stats.files(db, limit=10))


def test_the_click_after_a_confirmed_action_is_never_lost(open_tab: Callable[..., Page], db: Database) -> None:
    seed(db)
    page = open_tab(path="/nodes?node=node-1&node=node-2")
    for _ in range(4):
        for verb, state in (("Pause", "paused"), ("Resume", "live")):
            page.get_by_role("button", name=f"{verb} 2…").click()
            page.get_by_role("dialog").get_by_role("button", name=f"{verb} 2 nodes").click()
            # At once, while the page is still drawn again: the dialog of the next action must open.
            page.get_by_role("button", name="Drain 2…").click()
            expect(page.get_by_role("dialog").get_by_role("button", name="Drain 2 nodes")).to_be_visible()
            assert [row["state"] for row in db.run("nodes")[:2]] == [state, state]
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
    assert "node=node-1&node=node-2" in page.url
