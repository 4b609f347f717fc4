"""Pages and dialogs keep the rules of axe-core, in light and dark, in a real browser."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from opskit import queue, stats
from opskit.database import Database
from opskit.settings import Settings
from tests.support.chromium import CHROMIUM, PATIENCE, chromium, serving
from tests.support.dashboard import execute

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
_PACKAGE = importlib.util.find_spec("axe_playwright_python")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
AXE = Path(_PACKAGE.origin).with_name("axe.min.js").read_text(encoding="utf-8")
WIDTHS = (390, 1920, 1440)
PAGES = ("", "nodes", "files", "failures", "cleanup", "timeline", "doctor", "history")
DIALOGS = {"": ("Pause all…", "Clean up…", "Requeue…"), "files": ("Upload…",), "nodes?node=node-1": ("Drain…",)}


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it stands now.

    But for Streamlit's drop zone for files, which has a label though it is there for the mouse alone: its button is
    what keyboards and readers use.
    """
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)"
    )
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        for node in one["nodes"]
        if not (one["id"] == "presentation-role-conflict" and "stFileUploaderDropzone" in node["html"])
    ]


def opened(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text(re.compile("^as of "))).to_have_count(1, timeout=PATIENCE)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=PATIENCE)


def at_each_width(page: Page, what: str) -> dict[str, list[str]]:
    """What axe-core finds on the page as it is, as wide as a phone, a laptop and a large screen.

    A page that is still being drawn has no colours yet: what is gone a second later was that.
    """
    found: dict[str, list[str]] = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1400})
        page.wait_for_timeout(300)
        seen = violations(page)
        if seen:
            page.wait_for_timeout(1000)
            seen = violations(page)
        found[f"{what} at {width}"] = seen
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_any_page_or_dialog_at_any_width(
    browser: Browser, full: Database, settings: Settings, tmp_path: Path, scheme: str
) -> None:
    execute(full, "UPDATE {files} SET processing_completed_at = now() WHERE processing_status = 'failed'")
    execute(
        full,
        "INSERT INTO {files} (original_filename, processing_status, processing_errors, processing_completed_at)"
        " SELECT 'b', 'failed', 'KeyError: amount', now() FROM generate_series(1, 5)",
    )
    queue.requeue(full, [stats.records(stats.files(full, status="completed"))[0]["id"]], actor="ann")
    found: dict[str, list[str]] = {}
    with serving(settings, tmp_path) as url:
        context = browser.new_context(color_scheme=scheme, viewport={"width": 1440, "height": 1400})  # type: ignore[arg-type]  # light or dark
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        (file, *_) = stats.records(stats.files(full, status="failed"))
        for path in (*PAGES, f"file?id={file['id']}", "file?id=0", "node?id=node-1", "node?id=nobody"):
            if "nobody" in path or "id=0" in path:
                page.goto(f"{url}/{path}")
                expect(page.get_by_test_id("stAlert").first).to_be_visible()
            else:
                opened(page, f"{url}/{path}")
            found |= at_each_width(page, path)
        for path, names in DIALOGS.items():
            for name in names:
                opened(page, f"{url}/{path}")
                page.get_by_role("button", name=name).first.click()
                expect(page.get_by_role("dialog").get_by_text("This changes development")).to_be_visible()
                found |= at_each_width(page, f"{path} {name}")
        context.close()
    assert not any(found.values()), "\n".join(f"{path}: {line}" for path, lines in found.items() for line in lines)
