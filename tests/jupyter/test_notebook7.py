"""Notebook 7, where it is installed: the same panel, live in a real browser."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from opskit.database import Database
from tests.jupyter import lab
from tests.support.chromium import chromium, free_port, wait_for
from tests.support.nodes import until
from tests.support.tables import claimed, files


@pytest.mark.browser
@pytest.mark.timeout(400)
@pytest.mark.skipif(importlib.util.find_spec("notebook") is None, reason="Notebook 7 is not installed")
def test_in_notebook_7_a_panel_is_live_and_cancels_a_file_at_its_second_press(db: Database, tmp_path: Path) -> None:
    lab.write(tmp_path / "live.ipynb", "import opskit\ndb = opskit.connect(actor='ada')\nopskit.watch(db)")
    claimed(db, "node-a")
    port, home = free_port(), str(tmp_path / ".jupyter")
    Path(home).mkdir()
    own = dict.fromkeys(("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR"), home)
    command = [
        sys.executable, "-P", "-m", "notebook", str(tmp_path), "--no-browser", "--ServerApp.token=secret",
        f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1", "--allow-root",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "server.log").open("wb"))
        environ = {**os.environ, **db.settings.environ(), **own}
        server = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=log, stderr=log)
        stack.callback(server.wait, 30)
        stack.callback(server.terminate)
        wait_for(f"http://127.0.0.1:{port}/api", server, log.name)
        page = stack.enter_context(chromium()).new_page(viewport={"width": 1200, "height": 1400})
        page.goto(f"http://127.0.0.1:{port}/notebooks/live.ipynb?token=secret", timeout=lab.SECONDS)
        idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
        expect(idle).to_be_visible(timeout=lab.SECONDS)
        lab.run_all(page)
        panel = page.locator(".opskit-watch")
        expect(panel.locator("tr", has_text="node-a").first).to_be_visible(timeout=lab.SECONDS)

        files(db, "comes.csv")
        expect(panel.locator(".opskit-queued")).to_have_text("1 queued")

        cancel = panel.locator("button[data-key^='cancel']")
        cancel.click()
        expect(cancel).to_contain_text("Cancel 1 file, file-of-node-a on node-a (development)")
        (tmp_path / "armed.png").write_bytes(page.screenshot())
        cancel.click()
        expect(panel.locator(".opskit-said")).to_contain_text("Cancelled 1 file")
        until(lambda: not db.run("held", server_id="node-a"))
        (tmp_path / "seen.png").write_bytes(page.screenshot())
