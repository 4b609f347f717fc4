"""opskit.watch: live in a real JupyterLab, harmless when anything ends, and a table where no script runs."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

import opskit
from opskit import queue, stats
from opskit.database import Database
from opskit.jupyter.panel import Panel, act, as_html
from opskit.local.nodes import start_node
from opskit.queue import claims
from tests.jupyter import lab
from tests.support.nodes import ask, until
from tests.support.tables import claimed, fail, files, put_node

watching = importlib.import_module("opskit.jupyter.watch")
DEAD = "beat_at = now() - interval '2 hours', lease_until = now() - interval '1 hour'"


def sessions(db: Database) -> int:
    """How many sessions of panels there are."""
    query = (
        "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%watch'"
    )
    return len(ask(db, query))


def test_a_panel_reads_everything_as_plain_data(db: Database) -> None:
    files(db, "<b>waits</b>.csv")
    id, token = claimed(db, "node-bad")
    fail(db, id, token, outcome="rejected", error="line 17 is bad")
    claimed(db, "node-gone")
    put_node(db, "node-gone", DEAD)
    with Database(db.settings, pooled=False) as own:
        state = Panel(own).read()

    assert json.loads(json.dumps(state)) == state
    assert dict(state["chips"]) == {"queued": 1, "processing": 1, "completed": 0, "failed": 1}
    assert state["claims"] == [
        {"file": "file-of-node-gone", "server": "node-gone", "minutes": 0.0, "verdict": "silent"}
    ]
    assert {row["server"]: row["state"] for row in state["nodes"]}["node-gone"] in ("silent", "dead")
    assert state["failures"][0]["files"] == 1
    assert state["ended"][0]["said"] == "rejected: line 17 is bad"
    assert state["may_act"] is True
    offered = {action["key"]: action for action in state["actions"]}
    assert offered["cleanup"]["confirm"] == "End 1 claim (development)"
    assert offered[f"requeue {state['failures'][0]['error']}"]["confirm"] == "Queue 1 file again (development)"
    assert offered["pause"]["verb"] == "pause"


def test_a_panel_is_a_table_without_a_script_and_data_is_never_markup(db: Database) -> None:
    claimed(db, "<script>alert(1)</script>")
    with Database(db.settings, pooled=False) as own:
        text = as_html(Panel(own).read())

    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "What needs a person" in text


def test_what_is_pressed_names_what_it_acts_on_and_a_claim_that_moved_on_is_skipped(db: Database) -> None:
    id, token = claimed(db, "node-gone")
    put_node(db, "node-gone", DEAD)
    (row,) = queue.preview(db, look=False)
    fail(db, id, token)

    said = act(db, "cleanup", {"claims": [row["claim"]]}, reason="test")

    assert said == "0 claims ended; 1 moved on by themselves"
    assert stats.files(db)["processing_status"].tolist() == ["queued"]


def test_a_read_only_panel_offers_nothing_that_can_be_pressed(db: Database) -> None:
    claimed(db, "node-gone")
    with Database(dataclasses.replace(db.settings, read_only=True), pooled=False) as own:
        state = Panel(own).read()

    assert (state["may_act"], state["may_not"]) == (False, "this connection is read-only")
    made = watching.Watch(Database(dataclasses.replace(db.settings, read_only=True)))
    made._pressed(None, {"key": "pause", "verb": "pause", "values": {}})
    assert made._said.startswith("that was not done")
    assert stats.pauses(db).empty
    made._reader.close()


def test_without_anywidget_a_panel_is_a_table_of_this_moment(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    files(db, "a.csv")

    shown = opskit.watch(db)

    assert "1 queued" in shown._repr_html_()
    assert "1 queued" in repr(shown)
    until(lambda: sessions(db) == 0)


def test_a_panel_is_kept_up_to_date_from_a_thread_and_its_end_ends_its_session(db: Database) -> None:
    panel = opskit.watch(db, every_seconds=0.2)
    files(db, "a.csv")

    until(lambda: ["queued", 1] in panel.state["chips"])
    assert sessions(db) == 1
    panel.stop()

    until(lambda: sessions(db) == 0)
    until(lambda: panel.state["stopped"])
    assert panel.state["actions"] == []


def test_a_database_that_is_away_is_said_and_the_panel_goes_on_when_it_is_back(db: Database) -> None:
    panel = opskit.watch(db, every_seconds=0.2)
    name = (db.settings.database_url or "").rpartition("/")[2]
    admin = dataclasses.replace(db.settings, database_url=(db.settings.database_url or "").replace(name, "postgres"))
    try:
        with Database(admin) as other, other.connection() as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            connection.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'".encode()
            )
            until(lambda: panel.state["away"])
            assert panel.state["actions"] == []
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        until(lambda: not panel.state["away"])
    finally:
        panel.stop()


@pytest.mark.slow
def test_the_end_of_a_kernel_ends_the_session_of_its_panel(db: Database, tmp_path: Path) -> None:
    code = "import opskit, time; panel = opskit.watch(opskit.connect()); print('on', flush=True); time.sleep(600)"
    for sign in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, **db.settings.environ()}, cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"on\n"
            until(lambda: sessions(db) == 1)

            process.send_signal(sign)

        until(lambda: sessions(db) == 0)


@pytest.mark.slow
def test_an_exported_notebook_keeps_the_last_state_as_a_table(db: Database, tmp_path: Path) -> None:
    import papermill  # loads the clients of three clouds: two seconds

    claimed(db, "node-a")
    lab.write(tmp_path / "in.ipynb", "import opskit\nopskit.watch(opskit.connect(), every_seconds=0.2)")
    settings = db.settings.environ()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in settings.items():
            patch.setenv(key, value)
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False)

    (output,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].outputs

    assert "application/vnd.jupyter.widget-view+json" in output["data"]
    assert "file-of-node-a" in output["data"]["text/html"]
    until(lambda: sessions(db) == 0)


@pytest.mark.browser
@pytest.mark.timeout(400)
def test_in_jupyterlab_a_panel_is_live_and_its_second_press_ends_a_claim_that_no_node_ends(
    db: Database, tmp_path: Path
) -> None:
    lab.write(
        tmp_path / "live.ipynb",
        "import opskit\nfrom opskit import stats\ndb = opskit.connect(actor='ada')\nopskit.watch(db)",
        "print('the kernel', 'is free')",
    )
    claimed(db, "node-gone")
    environ = {**db.settings.environ(), "OPSKIT_LEASE_SECONDS": "2"}
    with lab.jupyterlab(tmp_path, environ) as address, lab.opened(address, "live.ipynb") as page:
        lab.run_all(page)
        panel = page.locator(".opskit-watch")
        expect(panel).to_be_visible(timeout=lab.SECONDS)
        expect(page.get_by_text("the kernel is free")).to_be_visible()
        expect(panel.get_by_text("development")).to_be_visible()
        cleanup = panel.locator("button[data-key='cleanup']")
        expect(cleanup).to_have_count(0)

        # A node comes, and is killed: both are seen without a new cell.
        with (tmp_path / "node.log").open("wb") as log:
            node = start_node(db, "node-live", log)
        expect(panel.locator("tr", has_text="node-live").get_by_text("live", exact=True)).to_be_visible()
        node.kill()
        node.wait()
        expect(panel.locator("tr", has_text="node-live").get_by_text(re.compile("silent|dead"))).to_be_visible()

        # Nobody is there to end the claim but the person at the panel.
        put_node(db, "node-gone", DEAD)
        expect(cleanup).to_have_text("Clean up…")
        for _ in range(2):  # a silent node's claim needs a second look
            cleanup.click()
            expect(cleanup).to_contain_text("End 1 claim (development)")
            assert not stats.stale(db).empty
            cleanup.click()
            expect(panel.locator(".opskit-said")).to_be_visible()
            time.sleep(2.5)
            if stats.stale(db).empty:
                break
        until(lambda: stats.stale(db).empty)
        events = stats.events(db, kind="attempt")
        assert "ada" in events["actor"].tolist()
        expect(cleanup).to_have_count(0)
        expect(panel.locator(".opskit-queued")).to_have_text("1 queued")
        (tmp_path / "seen.png").write_bytes(page.screenshot())

        # A restart of the kernel leaves no session behind.
        assert sessions(db) == 1
        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_role("menuitem", name=re.compile("^Restart Kernel…")).first.click()
        page.get_by_role("button", name="Confirm Kernel Restart").click()
        until(lambda: sessions(db) == 0)


@pytest.mark.browser
@pytest.mark.timeout(400)
def test_in_jupyterlab_a_viewer_sees_everything_and_can_press_nothing(db: Database, tmp_path: Path) -> None:
    claimed(db, "node-gone")
    put_node(db, "node-gone", DEAD)
    lab.write(tmp_path / "viewer.ipynb", "import opskit\nopskit.watch(opskit.connect(read_only=True))")
    with lab.jupyterlab(tmp_path, db.settings.environ()) as address, lab.opened(address, "viewer.ipynb") as page:
        lab.run_all(page)
        panel = page.locator(".opskit-watch")
        expect(panel.locator("tr", has_text="file-of-node-gone").first).to_be_visible(timeout=lab.SECONDS)

        buttons = panel.locator("button")
        expect(buttons.nth(1)).to_be_disabled()
        expect(panel.locator("button:enabled")).to_have_count(0)
        expect(buttons.first).to_have_attribute("title", "this connection is read-only")
    assert len(claims.held(db, "node-gone")) == 1
