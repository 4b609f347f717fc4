"""The page in a real browser: how long until each page is there, opened for the first time and by a later click.

A fresh context of Chromium has an empty cache. A page is there when its own content is drawn, nothing of the page
before is left and the script has ended. Beside it stands an app of Streamlit that has a menu and a number or an empty
table on each page, in the same browser and the same rounds: what is less than that only Streamlit could mend.
The machine's load is told with the figures: both are slower on a busy one, their ratio is not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import free_port, tell
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from scale_table import table

from opskit.database import Database

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FIRST_MS, CLICK_MS = 1500, 300
"""The goals: a first view, and each later click [ms]."""
SHOWS = {
    "overview": "[data-testid=stMetricValue]",
    "nodes": "[data-testid=stDataFrame] canvas",
    "files": "[data-testid=stDataFrame] canvas",
    "failures": "[data-testid=stDataFrame] canvas",
    "cleanup": "[data-testid=stAlert], .st-key-end_claims",
    "timeline": ".js-plotly-plot",
    "doctor": "[data-testid=stMarkdown], [data-testid=stAlert]",
    "history": "[data-testid=stDataFrame] canvas",
}
"""What each page is opened for."""
EMPTY = """
import streamlit as st
def number(): st.metric("Number", 1)
def empty(): st.dataframe([{"A": "b"}])
def words(): st.success("Words")
def plot():
    import plotly.graph_objects as go
    st.plotly_chart(go.Figure(go.Bar(x=[1], y=[1])))
pages = {"overview": number, "nodes": empty, "files": empty, "failures": empty, "cleanup": words, "timeline": plot,
         "doctor": words, "history": empty}
st.set_page_config(layout="wide")
st.navigation(
    [st.Page(draw, title=name.capitalize(), url_path="" if name == "overview" else name, default=name == "overview")
     for name, draw in pages.items()], position="top").run()
"""
"""An app of Streamlit with as many pages, each with one element of the kind that ours is opened for."""
THERE = """([title, selector]) => {
    const app = document.querySelector('[data-testid=stApp]')
    if (!app || app.dataset.testScriptState !== 'notRunning' || !document.title.startsWith(title)) return false
    if (document.querySelector('[data-testid=stMain] [data-stale=true]')) return false
    return [...document.querySelectorAll(selector)].some((one) => one.offsetParent !== null)
}"""


@contextlib.contextmanager
def served(command: list[str], folder: str, port: int, **environ: str) -> Iterator[str]:
    """A server, once it answers; its address."""
    with (Path(folder) / f"{port}.log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **environ}, cwd=folder, stdout=log, stderr=log)
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def both(db: Database) -> Iterator[dict[str, str]]:
    """Our page over a database, and an empty app of Streamlit: their addresses."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ours, empty = free_port(), free_port()
        (Path(folder) / "empty.py").write_text(EMPTY)
        flags = [f"--server.port={empty}", "--server.headless=true", "--server.address=127.0.0.1"]
        flags += ["--browser.gatherUsageStats=false"]
        yield {
            "opskit": stack.enter_context(
                served(
                    [sys.executable, "-m", "opskit.web"], folder, ours,
                    **(db.settings.environ() | {"OPSKIT_PORT": str(ours)}),
                )
            ),
            "empty": stack.enter_context(
                served([sys.executable, "-m", "streamlit", "run", "empty.py", *flags], folder, empty)
            ),
        }  # fmt: skip


def wait(tab: Page, name: str) -> None:
    """Wait until a page is there, looking at every frame that the browser draws."""
    tab.wait_for_function(THERE, arg=[name.capitalize(), SHOWS[name]], polling="raf", timeout=120_000)


def first(context: BrowserContext, url: str, name: str) -> tuple[Page, float]:
    """Open a page; the tab, and how long it took [s]."""
    tab = context.new_page()
    began = time.perf_counter()
    tab.goto(f"{url}/{'' if name == 'overview' else name}", wait_until="commit")
    wait(tab, name)
    return tab, time.perf_counter() - began


def click(tab: Page, name: str) -> float:
    """Go to a page by its name in the menu; how long it took [s]."""
    link = tab.get_by_test_id("stTopNavLink").get_by_text(name.capitalize(), exact=True)
    link.wait_for()
    began = time.perf_counter()
    link.click(no_wait_after=True)
    wait(tab, name)
    return time.perf_counter() - began


def round_of(browser: Browser, url: str) -> Iterator[tuple[str, str, float]]:
    """One round: kind, page and time [s] of every first view and every later click."""
    for name in SHOWS:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        tab, took = first(context, url, name)
        yield "first", name, took
        if name == "overview":
            time.sleep(2.0)  # as long as a person looks at it
            names = [other for other in SHOWS if other != name]
            for other in [*names, name]:
                yield "first click", other, click(tab, other)
            for other in [*names, name]:
                yield "click", other, click(tab, other)
        context.close()


def measure(db: Database, rows: int, rounds: int) -> list[dict[str, Any]]:
    """A line for each page, medians of interleaved rounds [ms]."""
    found: dict[tuple[str, str, str], list[float]] = {}
    with both(db) as urls, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        warm: Callable[[str], object] = lambda url: list(round_of(browser, url))  # noqa: E731  # named for its one use
        for url in urls.values():
            warm(url)
        for _ in range(rounds):
            for app, url in urls.items():
                for kind, name, took in round_of(browser, url):
                    found.setdefault((app, kind, name), []).append(took * 1000)
        browser.close()

    def median(app: str, kind: str, name: str) -> int:
        return round(statistics.median(found[app, kind, name]))

    return [
        {
            "rows": rows,
            "page": name,
            "first view [ms]": median("opskit", "first", name),
            "empty app": median("empty", "first", name),
            "first click [ms]": median("opskit", "first click", name),
            "its empty app": median("empty", "first click", name),
            "later click [ms]": median("opskit", "click", name),
            "an empty app": median("empty", "click", name),
        }
        for name in SHOWS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", metavar="FOLDER", help="keep the tables there for the next run, or for scale.py")
    given = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for rows in given.rows:
        with table(rows, given.keep) as db:
            lines += measure(db, rows, given.rounds)
    tell("page-views", lines)


if __name__ == "__main__":
    main()
