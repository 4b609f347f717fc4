"""The actions of the page: what they do, and who may not act."""

from __future__ import annotations

import dataclasses

import pytest
import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.web.authorization import Caller
from opskit.web.dashboard import permission, readings
from tests.support.dashboard import Open, click, execute, fine, old_claim, said, status


@pytest.mark.slow
def test_all_nodes_are_paused_and_resumed(open_page: Open, db: Database) -> None:
    app = click(open_page(), "pause_all")
    assert not db.run("pauses")

    click(app, "confirm_button")
    assert [row["scope"] for row in db.run("pauses")] == ["*"]
    assert "everything is paused" in said(app)

    click(click(app, "resume_all"), "confirm_button")
    assert not db.run("pauses")


@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("drain", "draining")])
def test_one_node_is_steered(open_page: Open, full: Database, verb: str, state: str) -> None:
    queue.resume(full, "*", actor="ann")
    app = open_page("nodes.py")
    app.query_params["node"] = "node-1"
    app.run()

    click(click(app, verb), "confirm_button")

    assert {row["server_id"]: row["state"] for row in full.run("nodes")}["node-1"] == state


def test_a_refused_action_is_one_sentence(open_page: Open, full: Database) -> None:
    app = open_page("nodes.py")
    app.query_params["node"] = "node-1"
    app.run()
    click(app, "drain")
    execute(full, "UPDATE {nodes} SET stopped_at = now()")

    click(app, "confirm_button")

    assert "there is no running node" in said(app)


def test_read_only_refuses_every_action(open_page: Open, full: Database) -> None:
    for page in ("overview.py", "nodes.py"):
        app = open_page(page, OPSKIT_READ_ONLY="1")
        verbs = [button for button in app.button if button.key not in ("refresh", "more")]
        assert verbs
        assert all(button.disabled for button in verbs)
        assert "read-only" in said(app)


def test_a_dialog_left_open_is_refused_once_it_is_read_only(
    open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = old_claim(db, "stale.csv", 120)
    app = click(open_page(), "cleanup")
    read_only = dataclasses.replace(readings.settings(), read_only=True)
    monkeypatch.setattr(readings, "settings", lambda: read_only)

    click(app, "confirm_button")

    assert "read-only" in said(app)
    assert status(db, stale) == "processing"


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    "client",
    [
        Caller.with_headers("192.0.2.7", {"Host": "127.0.0.1:8501"}, None),
        Caller.with_headers("127.0.0.1", {"Host": "evil.example"}, None),
        Caller.with_headers("127.0.0.1", {}, None),
        Caller.with_headers("127.0.0.1", {"Host": "127.0.0.1:8501", "Origin": "http://evil.example"}, None),
        Caller.with_headers("127.0.0.1", {"Host": "127.0.0.1:8501", "X-Forwarded-For": "192.0.2.7"}, None),
    ],
)
def test_a_client_from_elsewhere_may_only_read(
    open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch, client: Caller
) -> None:
    monkeypatch.setattr(permission, "client", lambda: client)

    app = open_page()

    assert app.button(key="cleanup").disabled


def test_a_token_unlocks_the_actions(open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        permission,
        "client",
        lambda: Caller.with_headers("192.0.2.7", {"Host": "ops.example"}, f"Bearer {st.session_state.get('token')}"),
    )
    app = open_page(OPSKIT_API_TOKEN="open sesame")
    assert app.button(key="cleanup").disabled

    app.text_input(key="token").set_value("open sesame").run()

    assert fine(app)
    assert not app.button(key="cleanup").disabled
