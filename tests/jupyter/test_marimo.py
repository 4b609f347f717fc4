"""The same panel in marimo, in a real browser."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from opskit import stats
from opskit.database import Database
from tests.support.chromium import chromium, free_port, wait_for
from tests.support.nodes import until
from tests.support.tables import environ, files

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import opskit

    opskit.watch(opskit.connect(actor="ada"))
    return


@app.cell
def _():
    import opskit as kit
    from opskit import stats
    from opskit.stats import figures

    figures.distribution(stats.distribution(kit.connect()))
    return
"""


@pytest.mark.browser
@pytest.mark.timeout(400)
def test_in_marimo_the_panel_is_live_and_acts_at_its_second_press(db: Database, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    files(db, "a.csv")
    port = free_port()
    words = ["run", "app.py", "--headless", "--no-token", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path / "marimo.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "marimo", *words], env=environ(db.settings), cwd=tmp_path, stdout=out, stderr=out
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, str(log))
            with chromium() as browser:
                page = browser.new_page()
                page.goto(f"http://127.0.0.1:{port}/")
                panel = page.locator(".opskit-watch")
                expect(panel).to_be_visible(timeout=120_000)
                expect(panel.locator(".opskit-queued")).to_have_text("1 queued")
                expect(page.get_by_text("Files by server and state [files]")).to_be_visible(timeout=120_000)
                files(db, "b.csv")
                expect(panel.locator(".opskit-queued")).to_have_text("2 queued")

                pause = panel.locator("button[data-key='pause']")
                pause.click()
                expect(pause).to_contain_text("Pause 0 nodes, and those that come (development)")
                assert stats.pauses(db).empty
                pause.click()

                until(lambda: stats.pauses(db)["actor"].tolist() == ["ada"])
                expect(panel.locator("button[data-key='resume']")).to_be_visible()
        finally:
            server.terminate()
            server.wait(30)
