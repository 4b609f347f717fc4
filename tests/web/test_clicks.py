"""A click is never lost, in a real browser: neither the one after a confirmed action nor one between two ticks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from opskit import queue
from opskit.database import Database
from opskit.settings import Settings
from tests.support.chromium import CHROMIUM, chromium, serving
from tests.support.tables import boot

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
TIMES = 100


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def test_the_click_after_a_confirmed_action_is_never_lost(
    browser: Browser, db: Database, settings: Settings, tmp_path: Path
) -> None:
    boot(db, "node-a", lease_seconds=3600.0)
    queue.pause(db, actor="ann", reason="disk full")
    with serving(settings, tmp_path) as url:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        dialog = page.get_by_role("dialog")
        lost = []
        for time in range(TIMES):
            verb = "Resume" if time % 2 == 0 else "Pause"
            button = page.get_by_role("button", name=f"{verb} all…")
            # The box tells of a pause by a button of its own: that one and the bar's are both tried.
            (button.last if time % 4 == 0 else button.first).click()
            dialog.get_by_role("button", name=verb, exact=True).click()
            # At once, while the page is still drawn again.
            page.get_by_role("button", name="Clean up…").first.click()
            try:
                expect(dialog.get_by_text("No stale processing locks found")).to_be_visible(timeout=10_000)
            except AssertionError:
                lost.append(time)
                page.reload()
                continue
            assert bool(db.run("pauses")) == (verb == "Pause"), time
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
            if verb == "Pause":
                expect(page.get_by_role("button", name="Resume all…")).to_have_count(2)
        assert not lost
