"""The documentation's site: built strict, read without the internet in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request

from tests.support.chromium import CHROMIUM, chromium
from tests.support.pages import DOCS, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium("--allow-file-access-from-files") as one:
        yield one


def test_the_site_has_a_page_for_each_page_of_the_documentation(site: Path) -> None:
    built = {str(page.relative_to(site).with_suffix(".md")) for page in site.rglob("*.html")} - {"404.md"}

    assert built == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_the_python_reference_has_every_signature(site: Path) -> None:
    text = (site / "reference" / "python.html").read_text(encoding="utf-8")

    for function in ("opskit.queue.cleanup", "opskit.stats.distribution", "opskit.migration.migrate"):
        assert f'id="{function}"' in text


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_reader_without_internet_follows_every_link_and_meets_no_error(site: Path, browser: Browser) -> None:
    page, troubles = watched(browser)
    todo, seen = [(site / "index.html").as_uri()], set[str]()
    anchors: dict[str, set[str]] = {}
    wanted: set[tuple[str, str]] = set()

    while todo:
        address = todo.pop()
        if address in seen:
            continue
        seen.add(address)
        page.goto(address)
        anchors[address] = set(page.eval_on_selector_all("[id]", "all => all.map(one => one.id)"))
        for link in page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)"):
            target, _, anchor = link.partition("#")
            if target.startswith("file:"):
                assert target.endswith(".html"), (address, link)  # a folder has no page there
                todo.append(target)
                if anchor and not anchor.startswith("__"):
                    wanted.add((target, anchor))
        broken = page.eval_on_selector_all(
            "img", "all => all.filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
        )
        assert broken == [], address

    assert troubles == []
    assert len(seen) > 60
    assert {(target, anchor) for target, anchor in wanted if anchor not in anchors[target]} == set()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_search_finds_a_runbook_without_internet(site: Path, browser: Browser) -> None:
    page, troubles = watched(browser)
    page.goto((site / "index.html").as_uri())

    page.locator(".md-search__input").fill("breaker is open")
    page.locator(".md-search-result__link", has_text="The breaker is open").first.click()
    page.wait_for_url("**/runbooks/breaker-open.html*")

    assert page.locator("h1").inner_text().startswith("The breaker is open")
    assert troubles == []


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_take_the_colours_of_the_page(site: Path, browser: Browser, scheme: str) -> None:
    page, troubles = watched(browser, color_scheme=scheme)
    page.goto((site / "concepts" / "states.html").as_uri())

    box = page.locator(".picture .box").first.evaluate("one => getComputedStyle(one).fill")
    words = page.locator(".picture .name").first.evaluate("one => getComputedStyle(one).fill")

    assert brightness(box) > 200 if scheme == "light" else brightness(box) < 80
    assert abs(brightness(box) - brightness(words)) > 100
    assert troubles == []


def watched(browser: Browser, **how: str) -> tuple[Page, list[str]]:
    """A tab without a network, and what goes wrong in it: console errors, requests that fail or leave the folder."""
    page = browser.new_context(offline=True, viewport={"width": 1300, "height": 900}, **how).new_page()  # type: ignore[arg-type]
    troubles: list[str] = []

    def left(request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            troubles.append(f"{page.url} asks for {request.url}")

    page.on("request", left)
    page.on("requestfailed", lambda request: troubles.append(f"{page.url}: {request.url} {request.failure}"))
    page.on("pageerror", lambda error: troubles.append(f"{page.url}: {error}"))
    page.on(
        "console",
        lambda message: (
            troubles.append(f"{page.url}: {message.text}") if message.type in ("error", "warning") else None
        ),
    )
    return page, troubles


def brightness(color: str) -> float:
    """The mean of a colour's red, green and blue."""
    numbers = [float(number) for number in color.removeprefix("rgb").strip("a()").split(",")[:3]]
    return sum(numbers) / 3
