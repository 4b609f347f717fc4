"""Two operators at once, each with a browser: nothing is done twice, and the second is told what was left."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from opskit.database import Database
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import execute, old_claim, status

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
Tab = Callable[..., Page]


def two(open_tab: Tab, path: str) -> list[Page]:
    """The same page on the screens of two operators."""
    return [
        open_tab("light", path=path, viewport={"width": 1440, "height": 900}),
        open_tab("dark", path=path, viewport={"width": 1920, "height": 1080}),
    ]


def ask(pages: list[Page], button: str) -> None:
    """Open the same dialog on both screens, each with its operator's name."""
    for page, name in zip(pages, ("ann", "bob"), strict=True):
        page.get_by_role("button", name=button).click()
        page.get_by_role("dialog").get_by_label("Your name").fill(name)


def confirm(pages: list[Page], verb: str) -> list[str]:
    """Both confirm at the same moment; what each is told."""
    for page in pages:
        page.get_by_role("dialog").get_by_role("button", name=verb).click(no_wait_after=True)
    for page in pages:
        expect(page.get_by_role("dialog")).to_have_count(0)
    return [page.get_by_test_id("stToast").inner_text() for page in pages]


def numbers(told: list[str], word: str) -> int:
    """The sum of the numbers before a word."""
    return sum(int(re.findall(rf"(\d+)(?: files?)? {word}", one)[0]) for one in told if word in one)


def test_two_operators_confirm_the_same_cleanup_and_the_same_requeue_and_nothing_is_done_twice(
    open_tab: Tab, db: Database
) -> None:
    ids = [old_claim(db, f"stale-{number}.csv", 120 + number) for number in range(3)]
    pages = two(open_tab, "/cleanup")
    ask(pages, "End 3 claims…")

    told = confirm(pages, "End 3 claims")

    # Which of them is the first nobody knows; together they are told the truth.
    assert (numbers(told, "ended"), numbers(told, "skipped")) == (3, 3), told
    ends = db.run("events", file_id="", kind="attempt", row_limit=10)
    assert sorted(event["file_id"] for event in ends) == sorted(ids)
    assert [status(db, id) for id in ids] == ["failed"] * 3

    for page in pages:
        page.goto(page.url.split("/cleanup")[0] + "/files?state=failed&" + "&".join(f"tick={id}" for id in ids))
    ask(pages, "Requeue 3 files…")

    told = confirm(pages, "Requeue 3 files")

    assert (numbers(told, "requeued"), numbers(told, "skipped")) == (3, 3), told
    requeues = db.run("events", file_id="", kind="requeue", row_limit=10)
    assert sorted(event["file_id"] for event in requeues) == sorted(ids)
    assert [status(db, id) for id in ids] == ["queued"] * 3


def test_the_second_of_two_operators_is_told_who_was_first(open_tab: Tab, db: Database) -> None:
    (id,) = [old_claim(db, "stale.csv", 120)]
    first, second = two(open_tab, "/cleanup")
    ask([first, second], "End 1 claim…")
    (told,) = confirm([first], "End 1 claim")
    assert "1 ended" in told

    (told,) = confirm([second], "End 1 claim")

    assert "0 ended, 0 pending a second look, 1 skipped" in told
    second.get_by_text("What became of each").click()
    # The table is drawn on a canvas; its text is there for screen readers.
    cells = second.get_by_test_id("stDataFrame").locator("td")
    expect(cells.filter(has_text=re.compile("^ann .* has ended it, at "))).to_be_attached()
    (event,) = execute(db, "SELECT actor FROM {events} WHERE kind = 'attempt' AND file_id = %s", id)
    assert event["actor"].startswith("ann ")
