"""What a panel of opskit.watch shows beside its tables, and what each of its buttons does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from opskit import doctor, queue, stats
from opskit.database import Database
from opskit.jupyter.panel import Panel, act, as_html
from opskit.queue import attempt_logs
from opskit.queue.attempt_logs import Chunk
from tests.support.tables import claimed, fail, files


def panel(db: Database) -> dict[str, Any]:
    """A panel's state, read as it reads it."""
    with Database(db.settings, pooled=False) as own:
        return Panel(own).read()


def said(db: Database, token: str, text: str) -> None:
    """What an attempt has said, kept."""
    attempt_logs.keep(db, [Chunk(token=token, sequence=0, size=len(text), text=text)])


def test_a_panel_offers_to_cancel_each_file_in_processing_and_names_it(db: Database) -> None:
    id, _ = claimed(db, "node-a")
    waiting = files(db, "waits.csv")

    state = panel(db)

    (offered,) = [action for action in state["actions"] if action["verb"] == "cancel"]
    assert offered["confirm"] == "Cancel 1 file, file-of-node-a on node-a (development)"
    assert state["nodes"][0]["action"] == offered["key"]
    assert act(db, "cancel", offered["values"], reason="test") == "Cancelled 1 file"
    assert stats.files(db, status="failed")["id"].tolist() == [id]
    assert stats.files(db, status="queued")["id"].tolist() == waiting


def test_a_file_that_has_ended_since_it_was_named_is_not_cancelled(db: Database) -> None:
    id, token = claimed(db, "node-a")
    values = {"ids": [id]}
    fail(db, id, token, outcome="rejected")

    assert act(db, "cancel", values, reason="test").startswith("No file was cancelled")


def test_pause_names_how_many_nodes_it_stops(db: Database) -> None:
    for name in ("node-a", "node-b"):
        claimed(db, name)

    offered = {action["key"]: action for action in panel(db)["actions"]}
    assert offered["pause"]["confirm"] == "Pause 2 nodes, and those that come (development)"

    act(db, "pause", {}, reason="test")
    offered = {action["key"]: action for action in panel(db)["actions"]}
    assert offered["resume"]["confirm"] == "Resume 2 nodes, and those that come (development)"


def test_a_panel_shows_the_last_lines_of_attempts_that_run_and_of_those_that_ended(db: Database) -> None:
    runs, running = claimed(db, "node-a")
    ended, token = claimed(db, "node-b")
    said(db, running, "".join(f"row {number}\n" for number in range(9)))
    said(db, token, "<b>no such column</b>\n")
    fail(db, ended, token, outcome="rejected")
    claimed(db, "silent-node")

    state = panel(db)

    lines = {line["server"]: line for line in state["lines"]}
    assert lines["node-a"]["said"] == "row 6\nrow 7\nrow 8"
    assert lines["node-a"]["file"] == "file-of-node-a"
    assert (lines["node-b"]["said"], lines["node-b"]["file"]) == ("<b>no such column</b>", ended)
    assert set(lines) == {"node-a", "node-b"}
    assert "&lt;b&gt;no such column" in as_html(state)
    assert runs != ended


def test_a_panel_says_when_the_queue_will_be_empty(db: Database) -> None:
    files(db, *(f"{number}.csv" for number in range(3)))

    assert panel(db)["forecast"]

    queue.cancel(db, every=True)
    assert panel(db)["forecast"] == ""


@pytest.mark.parametrize(
    ("page_url", "link"), [("", ""), ("https://ops.example/x/", "https://ops.example/x/doctor?runbook=paused")]
)
def test_what_needs_a_person_links_to_its_runbook_where_the_page_is_known(
    db: Database, page_url: str, link: str
) -> None:
    files(db, "a.csv")
    queue.pause(db, reason="a deploy")
    settings = dataclasses.replace(db.settings, page_url=page_url)
    with Database(settings, pooled=False) as own:
        state = Panel(own).read()
        found = [one for one in doctor.examine(own) if one.condition == "paused"]

    assert link in [need["link"] for need in state["needs"]]
    assert link in [one.runbook for one in found]


def test_a_finding_and_a_list_of_them_link_to_runbook_and_page(db: Database) -> None:
    files(db, "a.csv")
    queue.pause(db, reason="a deploy")
    with Database(dataclasses.replace(db.settings, page_url="https://ops.example"), pooled=False) as own:
        found = doctor.examine(own)
    (one,) = [one for one in found if one.condition == "paused"]

    for shown in (one._repr_html_(), found._repr_html_()):
        assert '<a href="https://ops.example/doctor?runbook=paused"' in shown
        assert '<a href="https://ops.example/doctor" target="_blank"' in shown
    assert "page" not in one.facts()


def test_a_finding_names_the_command_of_its_runbook_where_no_page_is_known(db: Database) -> None:
    files(db, "a.csv")
    queue.pause(db, reason="a deploy")
    found = doctor.examine(db)
    (one,) = [one for one in found if one.condition == "paused"]

    for shown in (one._repr_html_(), found._repr_html_()):
        assert "<code>opskit doctor --explain paused</code>" in shown
        assert "href" not in shown
