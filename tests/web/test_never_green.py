"""The Overview in a real browser over a fleet that stands: whatever the reason, it is never green."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from opskit.database import Database
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import execute
from tests.support.tables import boot, files

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
GREEN = "Nothing needs you now"
WELL = (
    "DELETE FROM {pauses}",
    "UPDATE {nodes} SET paused = false",
    "UPDATE {nodes} SET state = 'active', lease_until = now() + interval '1 hour', beat_at = now()",
    "UPDATE {files} SET processing_queued_at = now()",
)
STOPS = {
    "everything is paused": "INSERT INTO {pauses} (scope, actor, reason) VALUES ('*', 'ann', 'a new disk')",
    "node-b is paused": "WITH one AS (UPDATE {nodes} SET paused = true RETURNING server_id) "
    "INSERT INTO {pauses} (scope, actor, reason) SELECT server_id, 'ann', 'a new disk' FROM one",
    "is draining or in quarantine": "UPDATE {nodes} SET state = 'draining'",
    "node-b is in quarantine": "UPDATE {nodes} SET state = 'quarantined'",
    "no node is alive": "UPDATE {nodes} SET lease_until = now() - interval '1 minute'",
    "the breaker is open": "INSERT INTO {pauses} (scope, kind, actor, reason) "
    "VALUES (' breaker', 'breaker', 'node-a', 'OSError: [Errno 28] No space left on device')",
    "nothing ended in 15 min": "UPDATE {files} SET processing_queued_at = now() - interval '25 minutes'",
}
"""What the page says, and what the fleet stands by."""


def set_to(db: Database, *statements: str) -> None:
    for statement in (*WELL, *statements):
        execute(db, statement)


def look(page: Page, other: Page, width: int) -> None:
    """Open the Overview on a screen of this width, with what is so now."""
    page.set_viewport_size({"width": width, "height": 844 if width < 500 else 900})
    page.emulate_media(color_scheme="dark" if width < 500 else "light")
    # The doctor is asked every ten seconds; "Refresh" has everything read anew, for all tabs.
    other.get_by_role("button", name="Refresh").click()
    expect(other.locator("[data-stale=true]")).to_have_count(0)
    page.reload()


def test_the_overview_is_green_over_no_fleet_that_stands_whatever_the_reason(
    open_tab: Callable[..., Page], db: Database
) -> None:
    boot(db, "node-a")
    boot(db, "node-b")
    files(db, "one.csv", "two.csv")
    page, other = open_tab(), open_tab(path="/files")
    green, boxes = page.get_by_text(GREEN), page.get_by_test_id("stAlert")
    expect(green).to_be_visible()

    for number, (said, statement) in enumerate(STOPS.items()):
        set_to(db, statement)
        look(page, other, (1440, 390, 1920)[number % 3])
        expect(boxes.filter(has_text=said).first).to_be_in_viewport()
        expect(green).to_have_count(0)

    set_to(db)
    look(page, other, 1440)
    expect(green).to_be_visible()

    execute(db, "DROP TABLE {pauses}")
    look(page, other, 390)
    expect(page.get_by_text("are not migrated yet")).to_be_visible()
    expect(green).to_have_count(0)
