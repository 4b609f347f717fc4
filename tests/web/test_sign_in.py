"""Sign-in by OpenID Connect: a real browser, a real provider, real redirects."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from opskit import queue
from opskit.database import Database
from opskit.settings import Settings
from tests.support.chromium import CHROMIUM, PATIENCE, chromium, serving
from tests.support.identity_provider import provider, write_secrets

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
ROLES = {"OPSKIT_OPERATORS": "ann@example.com", "OPSKIT_VIEWERS": "*@example.com"}


@pytest.fixture
def url(db: Database, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The page behind a provider, configured as docs/howto/sign-in.md says."""
    with provider() as known:
        write_secrets(tmp_path, known.url)
        with serving(settings, tmp_path, **ROLES) as address:
            yield address


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def signed_in(browser: Browser, address: str, who: str) -> Page:
    """A browser of one's own, gone through the door as somebody."""
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=who).click()
    return page


def test_roles_hold_from_the_door_to_the_history(browser: Browser, url: str, db: Database) -> None:
    stranger = browser.new_page()
    stranger.goto(url + "/files")
    expect(stranger.get_by_text("This page is for people who sign in.")).to_be_visible(timeout=PATIENCE)
    expect(stranger.get_by_test_id("stDataFrame")).to_have_count(0)
    with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
        urllib.request.urlopen(
            urllib.request.Request(url + "/api/processing/nodes", headers={"X-Real-Ip": "192.0.2.7"})
        )

    eve = signed_in(browser, url, "eve@evil.example")
    expect(eve.get_by_text("which is not in OPSKIT_OPERATORS or OPSKIT_VIEWERS")).to_be_visible(timeout=PATIENCE)
    expect(eve.get_by_test_id("stMetric")).to_have_count(0)

    viewer = signed_in(browser, url, "cid@example.com")
    expect(viewer.get_by_text("Nothing needs you now")).to_be_visible(timeout=PATIENCE)
    for action in ("Clean up…", "Pause all…", "Resume all…"):
        expect(viewer.get_by_role("button", name=action)).to_be_disabled()

    operator = signed_in(browser, url, "ann@example.com")
    operator.get_by_role("button", name="Pause all…").click()
    dialog = operator.get_by_role("dialog")
    expect(dialog.get_by_label("Your name")).to_have_value("ann@example.com", timeout=PATIENCE)
    expect(dialog.get_by_label("Your name")).to_be_disabled()
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(operator.get_by_test_id("stToast")).to_contain_text("All nodes paused", timeout=PATIENCE)
    (pause,) = db.run("pauses")
    assert pause["actor"] == "ann@example.com (page, 127.0.0.1)"

    # Out again: the tab that stays open shows the door, not the numbers.
    operator.get_by_role("button", name="operator").click()
    operator.get_by_role("button", name="Sign out").click()
    expect(operator.get_by_role("button", name="Sign in")).to_be_visible(timeout=PATIENCE)
    expect(operator.get_by_test_id("stMetric")).to_have_count(0)
    queue.resume(db, "*", actor="test")


def test_a_copied_cookie_does_not_outlive_the_hours_of_a_sign_in(
    browser: Browser, db: Database, settings: Settings, tmp_path: Path
) -> None:
    with provider() as known:
        write_secrets(tmp_path, known.url)
        with serving(settings, tmp_path, **ROLES, OPSKIT_SIGN_IN_HOURS="2") as address:
            # Signed in an hour and 59 minutes and some seconds ago: the cookie holds for a moment.
            known.says = {"iat": int(time.time()) - 7200 + 25}
            ends = time.monotonic() + 25
            operator = signed_in(browser, address, "ann@example.com")
            expect(operator.get_by_text("Nothing needs you now")).to_be_visible()
            copied = operator.context.cookies()
            operator.get_by_role("button", name="operator").click()
            operator.get_by_role("button", name="Sign out").click()
            expect(operator.get_by_role("button", name="Sign in")).to_be_visible()

            thief = browser.new_context(viewport={"width": 1400, "height": 1000})
            thief.add_cookies(copied)  # type: ignore[arg-type]  # as they were read
            page = thief.new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            expect(page.get_by_text("Nothing needs you now")).to_be_visible()
            # The tab that stays open ticks until then, and no longer.
            expect(page.get_by_text("A sign-in holds for 2 hours")).to_be_visible(timeout=60_000)
            assert time.monotonic() >= ends - 2
            expect(page.get_by_test_id("stMetric")).to_have_count(0)
            page.reload()
            expect(page.get_by_text("A sign-in holds for 2 hours")).to_be_visible()

            # Signing in again is all it takes.
            known.says = {}
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("link", name="ann@example.com").click()
            expect(page.get_by_text("Nothing needs you now")).to_be_visible()


def test_an_address_of_which_the_provider_says_nothing_is_outside_unless_a_setting_trusts_it(
    browser: Browser, db: Database, settings: Settings, tmp_path: Path
) -> None:
    with provider() as known:
        write_secrets(tmp_path, known.url)
        for trust, says, inside in (
            ("0", {"email_verified": None}, False),
            ("1", {"email_verified": None}, True),
        ):
            known.says = says
            with serving(settings, tmp_path, **ROLES, OPSKIT_TRUST_UNVERIFIED_EMAIL=trust) as address:
                page = signed_in(browser, address, "ann@example.com")
                shown = "Nothing needs you now" if inside else "which is not verified by the provider"
                expect(page.get_by_text(shown)).to_be_visible()
