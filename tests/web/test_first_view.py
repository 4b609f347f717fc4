"""The HTML of a page has the browser fetch what the page draws with, and later what the others do."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette

from opskit.web import index
from opskit.web.dashboard.pages import HIDDEN, PAGES
from tests.support.asgi_calls import called, scope
from tests.support.chromium import CHROMIUM

LINK = re.compile(r'<link rel="modulepreload" crossorigin href="\./static/js/([^"]+)">')
ADDRESSES = ("", *PAGES[1:], *HIDDEN)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    app = Starlette(routes=index.index_routes(ADDRESSES))
    return {page: called(app, scope(path=f"/{page}"))[1]["body"].decode() for page in ADDRESSES}


def test_a_page_fetches_what_it_draws_with_and_all_that_this_needs(pages: dict[str, str]) -> None:
    for page, names in index.DRAWS.items():
        for name in names:
            files = sorted((index.STATIC / "static/js").glob(f"{name}.*.js"))
            assert files, f"Streamlit has no file named {name}"
            for file in files:
                for needed in (file.name, *index._imports(file.name)):
                    assert f'="./static/js/{needed}"' in pages[page], (page, needed)


def test_a_page_fetches_only_what_there_is_and_nothing_twice(pages: dict[str, str]) -> None:
    for page, html in pages.items():
        fetched = LINK.findall(html)
        assert len(fetched) == len(set(fetched)), page
        assert all((index.STATIC / "static/js" / name).exists() for name in fetched), page


def test_a_page_without_a_chart_does_not_wait_for_the_charts_program(pages: dict[str, str]) -> None:
    for page in ("nodes", "files", "failures", "cleanup", "doctor", "history", "file"):
        assert not [name for name in LINK.findall(pages[page]) if name.startswith("PlotlyChart")], page


def test_every_page_that_draws_something_of_its_own_is_a_page() -> None:
    assert set(index.DRAWS) <= set(ADDRESSES)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_table_of_another_page_is_there_before_the_click(open_tab: Callable[..., Page]) -> None:
    page = open_tab()
    fetched = "performance.getEntriesByType('resource').some((one) => one.name.includes('/DataFrame.'))"

    page.wait_for_function(fetched)
    page.get_by_test_id("stTopNavLink").get_by_text("Nodes", exact=True).click()

    expect(page.get_by_text("Tick nodes to steer them.")).to_be_visible()
