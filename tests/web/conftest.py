"""Fixtures of the page: one opened over a test's database, a database with something of everything, who signs in."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from opskit.database import Database
from opskit.settings import Settings
from tests.support.api import Client, served
from tests.support.chromium import PATIENCE, chromium, serving
from tests.support.dashboard import components_scanned_once, full, open_page, signed_in
from tests.support.shared_database import SharedDatabase

__all__ = ["components_scanned_once", "full", "open_page", "signed_in"]


@pytest.fixture
def http(db: Database, settings: Settings) -> Client:
    """The API over a migrated database, called from this machine."""
    return served(db, settings)


@pytest.fixture
def nowhere(settings: Settings) -> Iterator[Client]:
    """The API over a database that does not answer."""
    url = "postgresql://somebody:Passw0rd@127.0.0.1:9/nowhere"
    shared = SharedDatabase(dataclasses.replace(settings, database_url=url), statement_seconds=0.2)
    yield served(shared, settings)
    shared.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def url(db: Database, settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The real server over this test's database."""
    with serving(settings, tmp_path) as address:
        yield address


@pytest.fixture
def open_tab(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Open the page in a tab; at the end there must have been no error in the console, nor a request to elsewhere."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} {message.location.get('url')}")

    contexts = []

    def open_it(scheme: str = "light", path: str = "/", **device: Any) -> Page:
        device = {"viewport": {"width": 1400, "height": 1400}} | device
        context = browser.new_context(color_scheme=scheme, **device)  # type: ignore[arg-type]  # light or dark
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request", lambda request: request.url.startswith((url, "data:", "blob:")) or errors.append(request.url)
        )
        page.goto(url + path)
        expect(page.get_by_text(re.compile("^as of "))).to_have_count(1, timeout=PATIENCE)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not errors
