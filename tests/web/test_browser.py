"""The page in a real browser: what only a browser can tell. Needs Chromium."""

from __future__ import annotations

import csv
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from psycopg import sql

from opskit import migration, queue, stats
from opskit.database import Database
from opskit.settings import Settings
from tests.support.browsing import metric, seed, widest
from tests.support.chromium import CHROMIUM, PATIENCE, serving
from tests.support.cluster import running_cluster
from tests.support.nodes import running_nodes, until

PAGES = ["Overview", "Nodes", "Files", "Failures", "Cleanup", "Timeline", "Doctor", "History"]


pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def is_dark(page: Page) -> bool:
    color = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    return sum(map(int, re.findall(r"\d+", color)[:3])) < 384


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_in_light_and_dark(open_tab: Callable[..., Page], db: Database, scheme: str) -> None:
    seed(db)

    page = open_tab(scheme)

    assert is_dark(page) == (scheme == "dark")
    for name in PAGES:
        go(page, name)
        expect(drawn(page).first).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_text("development").first).to_be_visible()


def drawn(page: Page) -> Locator:
    """What a page shows once it has been drawn; tables in tabs that are not chosen are there, too, but hidden."""
    return (
        page.get_by_test_id("stDataFrame")
        .or_(page.locator(".rows table"))
        .or_(page.get_by_test_id("stPlotlyChart"))
        .or_(page.get_by_role("checkbox", name="stale.csv"))
        .or_(page.get_by_role("button", name="Examine again"))
        .locator("visible=true")
    )


PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Chrome/129.0 Mobile Safari/537.36",
}


def test_every_page_can_be_used_on_a_phone(open_tab: Callable[..., Page], url: str, db: Database) -> None:
    seed(db)
    page = open_tab(**PHONE)

    for name in PAGES:
        if name != "Overview":
            page.goto(f"{url}/{name.lower()}")
        expect(page).to_have_title(f"{name} · development · opskit", timeout=PATIENCE)
        expect(drawn(page).first).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("development").first).to_be_in_viewport()
        expect(page.locator(".pagename")).to_be_visible()
        assert beyond_the_edge(page) == [], name

    # The pages are behind a button there, and an action fits as well.
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_role("link", name="Overview", exact=True).click()
    expect(page).to_have_title("Overview · development · opskit", timeout=PATIENCE)
    page.get_by_role("button", name="Clean up…").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="End 1 claim")).to_be_in_viewport(timeout=PATIENCE)
    assert beyond_the_edge(page) == []


def beyond_the_edge(page: Page) -> list[str]:
    """Buttons, boxes and numbers that a narrow screen cuts off; tables scroll by themselves."""
    parts = page.locator(
        "[data-testid=stButton], [data-testid=stMetric], [data-testid=stAlert], [data-testid=stSelectbox], "
        "[data-testid=stCheckbox], [data-testid=stDataFrame], [data-testid=stBadge], [data-testid=stCaptionContainer]"
    ).locator("visible=true")
    boxes: list[str] = parts.evaluate_all(
        "(all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth + 1"
        " || one.getBoundingClientRect().left < -1).map((one) => one.dataset.testid + ' ' + one.innerText)"
    )
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth > innerWidth + 1")
    return [*boxes, *(["the whole page"] if wide else [])]


def test_page_database_and_api_agree(open_tab: Callable[..., Page], url: str, db: Database) -> None:
    seed(db)

    page = open_tab()

    now = db.one("concurrency", stale_after_seconds=3600)
    with urllib.request.urlopen(url + "/api/processing/concurrency-stats", timeout=10) as answer:
        api = json.load(answer)
    for label in ("Queued", "Processing", "Completed", "Failed"):
        assert metric(page, label) == f"{now[label.lower()]:,}" == f"{api['byStatus'][label.lower()]:,}"
    assert metric(page, "Nodes claiming") == f"{now['claiming_nodes']} of {api['activeServers']}"


def test_what_others_do_appears_by_itself(open_tab: Callable[..., Page], db: Database) -> None:
    page = open_tab()
    expect(page.get_by_text("Nothing needs you now")).to_be_visible(timeout=PATIENCE)

    queue.pause(db, actor="bob", reason="disk full")

    expect(page.get_by_text("everything is paused")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile("^as of "))).to_have_count(1)


def test_a_bar_of_the_timeline_leads_to_its_files_story(open_tab: Callable[..., Page], db: Database) -> None:
    seed(db)
    page = open_tab()
    page.get_by_role("link", name="Timeline", exact=True).click()

    # Finished files are hairlines here; what is being processed is broad enough for a mouse, where it is in sight:
    # what began before the window goes on to its left, under the names of the servers.
    bar = widest(page, page.get_by_test_id("stPlotlyChart").locator(".barlayer .point path"))
    spot = bar["x"] + bar["width"] - 100, bar["y"] + bar["height"] / 2
    page.mouse.move(*spot)
    page.wait_for_timeout(5000)  # longer than a reading is fresh: the chart is the same when one has looked at it
    page.mouse.click(*spot)
    page.get_by_test_id("stPageLink").filter(has_text=re.compile(r"\.csv|done-")).click()

    expect(page).to_have_title("File · development · opskit", timeout=PATIENCE)
    expect(page.get_by_role("list", name="The file's life")).to_be_visible(timeout=PATIENCE)


def test_a_panel_says_where_its_numbers_come_from(open_tab: Callable[..., Page], url: str, db: Database) -> None:
    seed(db)
    page = open_tab()

    page.locator('[class*="st-key-source-distribution"]').get_by_role("button").first.click()
    expect(page.get_by_text('FROM :"files"')).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="HTTP").click()
    curl = page.get_by_text("curl -s").inner_text()
    # The page goes on ticking below it: the menu must stay open.
    page.wait_for_timeout(6000)
    with page.expect_download() as download:
        page.get_by_test_id("stPopoverBody").get_by_role("button", name="CSV").click()
    with page.expect_download() as parquet:
        page.get_by_test_id("stPopoverBody").get_by_role("button", name="Parquet").click()

    with urllib.request.urlopen(curl.removeprefix("curl -s ").strip("' \n"), timeout=10) as answer:
        api = json.load(answer)
    assert curl.removeprefix("curl -s ").strip("' \n").startswith(url)
    shown = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert [list(row.values()) for row in shown] == [[str(value or "") for value in row.values()] for row in api]
    again = stats.records(pd.read_parquet(parquet.value.path()))
    assert [list(row.values()) for row in again] == [list(row.values()) for row in api]


def test_live_numbers_reach_a_browser_as_events(open_tab: Callable[..., Page], db: Database) -> None:
    page = open_tab()

    # It stays open to the end: the server must stop all the same.
    told = page.evaluate(
        """() => new Promise((done) => { const told = [];
             window.stream = new EventSource('/api/processing/concurrency-stats/stream');
             window.stream.onmessage = (event) => {
               told.push(JSON.parse(event.data)); if (told.length == 2) done(told) } })"""
    )

    assert [one["byStatus"]["queued"] for one in told] == [0, 0]
    assert told[0]["timestamp"] < told[1]["timestamp"]


def agrees(page: Page, url: str) -> dict[str, int]:
    """Wait until the page's tiles are the API's numbers; answers them."""

    def same() -> dict[str, int] | None:
        with urllib.request.urlopen(url + "/api/processing/concurrency-stats", timeout=10) as answer:
            api: dict[str, int] = json.load(answer)["byStatus"]
        tiles = {state: metric(page, state.capitalize()) for state in api}
        return api if tiles == {state: f"{number:,}" for state, number in api.items()} else None

    numbers: dict[str, int] = until(same, seconds=20, what="agreement of page and API")
    return numbers


def confirm(page: Page, button: str, said: str) -> None:
    """Press the button of the open dialog, and wait for what is said then."""
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_test_id("stAlert").filter(has_text=said)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("dialog")).to_have_count(0, timeout=PATIENCE)


def go(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    expect(page).to_have_title(f"{name} · development · opskit", timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_whole_story_of_a_node_that_dies(
    open_tab: Callable[..., Page], url: str, db: Database, tmp_path: Path, scheme: str
) -> None:
    page = open_tab(scheme)
    with running_nodes(db, tmp_path) as start:
        # Ten files are uploaded, and wait.
        go(page, "Files")
        page.get_by_role("button", name="Upload…").click()
        page.get_by_role("dialog").locator("input[type=file]").set_input_files(
            [{"name": f"f{n}.csv", "mimeType": "text/csv", "buffer": f"{n}\n".encode()} for n in range(10)]  # type: ignore[arg-type]
        )
        confirm(page, "Queue 10 files", "10 files queued")
        go(page, "Overview")
        assert agrees(page, url) == {"queued": 10, "processing": 0, "completed": 0, "failed": 0}
        expect(page.get_by_text("queued and no node is alive")).to_be_visible(timeout=PATIENCE)

        # A node works on them, and is killed in the middle of one.
        first = start("first", act="slow", ACT_SECONDS="3", OPSKIT_ON_ORPHAN="fail")
        until(lambda: int(metric(page, "Completed")) >= 2, seconds=30, what="two completions on the page")
        until(lambda: any(row["file_id"] for row in db.run("nodes")), what="a file in hand")
        first.kill()
        first.end()
        go(page, "Nodes")
        expect(page.get_by_text(re.compile(r"^1 (silent|dead)\b"))).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text(re.compile(r"^1 dead\b"))).to_be_visible(timeout=PATIENCE)

        # Its claim is shown with the evidence, turns from silent to dead by itself, and is ended.
        go(page, "Cleanup")
        expect(page.get_by_text("first is dead")).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="End 1 claim…").click()
        page.get_by_role("dialog").get_by_label("Your name").fill("ann")
        confirm(page, "End 1 claim", "1 ended, 0 pending")
        expect(page.get_by_text("Nothing to clean up")).to_be_visible(timeout=PATIENCE)
        page.get_by_role("button", name="Requeue 1 file…").click()
        confirm(page, "Requeue 1 file", "1 file requeued")
        go(page, "Overview")
        done = agrees(page, url)
        assert done["queued"] == 10 - done["completed"]
        assert (done["processing"], done["failed"]) == (0, 0)

        # While all is paused, a new node claims nothing; resumed, it finishes them all.
        page.get_by_role("button", name="Pause all…").click()
        confirm(page, "Pause", "All nodes paused")
        start("second", act="slow", ACT_SECONDS="0.1")
        go(page, "Nodes")
        expect(page.get_by_text(re.compile(r"^1 paused · 1 dead\b"))).to_be_visible(timeout=PATIENCE)
        go(page, "Overview")
        assert agrees(page, url) == done
        page.get_by_role("button", name="Resume all…").first.click()
        confirm(page, "Resume", "Resumed all nodes")
        until(lambda: metric(page, "Completed") == "10", seconds=30, what="ten completions on the page")
        assert agrees(page, url) == {"queued": 0, "processing": 0, "completed": 10, "failed": 0}

        # All of it stands in the timeline, and nothing was worked on twice.
        go(page, "Timeline")
        expect(page.get_by_test_id("stPlotlyChart").locator(".barlayer .point")).not_to_have_count(0, timeout=PATIENCE)
        expect(page.get_by_text(re.compile(r"\b11 attempts\b"))).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("overlap: one file")).to_have_count(0)


@pytest.mark.slow
def test_the_page_outlives_a_database_that_is_killed(browser: Browser, tmp_path: Path) -> None:
    with running_cluster() as cluster:
        settings = Settings.load({}, database_url=cluster.create_database(), home=str(tmp_path))
        with Database(settings) as db:
            migration.migrate(db)
            seed(db)
        with serving(settings, tmp_path) as address:
            context = browser.new_context(viewport={"width": 1400, "height": 1400})
            page, files = context.new_page(), context.new_page()
            page.goto(address)
            files.goto(address + "/files")
            expect(files.get_by_text("All 63 files")).to_be_visible(timeout=PATIENCE)
            expect(page.get_by_text(re.compile("^as of "))).to_have_count(1, timeout=PATIENCE)
            queued = metric(page, "Queued")

            # Without a good-bye. The numbers stay, with their age; nobody has to press anything.
            cluster.kill()
            expect(page.get_by_text(re.compile(r"last known numbers, \d+ s old"))).to_be_visible(timeout=5_000)
            assert metric(page, "Queued") == queued == "1"
            with pytest.raises(urllib.error.HTTPError, match="503"):
                urllib.request.urlopen(address + "/healthz", timeout=10)
            files.get_by_role("button", name="Refresh").click()
            expect(files.get_by_text("last known numbers")).to_be_visible(timeout=PATIENCE)

            cluster.start()
            for tab in (page, files):
                expect(tab.get_by_text("last known numbers")).to_have_count(0, timeout=5_000)
                expect(tab.get_by_test_id("stException")).to_have_count(0)
            assert metric(page, "Queued") == queued
            context.close()


def strange_links(page: Page) -> list[str]:
    """The links that lead to another host, or to no page at all (mailto:)."""
    found: list[str] = page.evaluate(
        "[...document.links].filter(a => a.host !== location.host || a.protocol !== location.protocol).map(a => a.href)"
    )
    return found


def test_an_address_in_a_files_name_is_no_link_and_formulas_are_not_downloaded(
    open_tab: Callable[..., Page], url: str, db: Database
) -> None:
    names = ["https://evil.example/a.csv", "www.evil.example", "HTTP://evil.example", "ann@evil.example", "=1+1.csv"]
    with db.connection() as connection:
        for name in names:
            connection.execute(
                sql.SQL(
                    "INSERT INTO {} (original_filename, processing_status, processing_errors, processing_completed_at)"
                    " VALUES (%s, 'failed', %s, now())"
                ).format(sql.Identifier(db.names["files"])),
                (name, f"ValueError: see {name} or <{name}>"),
            )
        ids = connection.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(db.names["files"]))).fetchall()

    for row in ids:
        page = open_tab(path=f"/file?id={row['id']}")
        expect(page.get_by_role("list", name="The file's life")).to_be_visible()
        assert strange_links(page) == []
        for path in ("/failures", "/history"):
            page.goto(url + path)
            expect(page.get_by_text(re.compile("^as of "))).to_have_count(1)
            assert strange_links(page) == []
        page.close()

    page = open_tab(path="/files")
    frame = page.get_by_test_id("stDataFrame").first
    frame.hover()
    expect(page.get_by_role("button", name="Search").first).to_be_visible()
    expect(page.get_by_role("button", name="Download as CSV")).to_have_count(0)
