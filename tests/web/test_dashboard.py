"""The page, run as Streamlit runs it, on a real PostgreSQL: no page ever shows a traceback."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import re
import shlex
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import nbformat
import pandas as pd
import psycopg
import pytest
import streamlit as st
from nbclient import NotebookClient
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

from opskit import queue, stats
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError, SettingError
from opskit.queue import searching
from opskit.settings import Settings
from opskit.stats import counts, listings
from opskit.web import server
from opskit.web.api.app import create_api
from opskit.web.authorization import Caller
from opskit.web.dashboard import identity, permission, readings, sign_in, sources, times
from tests.support.dashboard import (
    AWAY,
    HERE,
    ROLES,
    Open,
    choose,
    click,
    execute,
    fine,
    metric,
    old_claim,
    said,
    status,
    tables,
    tick,
)
from tests.support.tables import ask_psql, psql
from tests.support.tables import opskit as tables_opskit

PAGES = [
    "overview.py", "nodes.py", "files.py", "failures.py", "cleanup.py", "timeline.py", "doctor.py", "history.py",
]  # fmt: skip


# -- every page, whatever the database ------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_an_empty_database(open_page: Open, db: Database, page: str) -> None:
    app = open_page(page)

    assert not app.error
    assert "development" in said(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_a_full_database(open_page: Open, full: Database, page: str) -> None:
    app = open_page(page)

    # What the doctor finds in it is an error, too.
    assert not [box for box in app.error if box.icon == AWAY]
    assert app.dataframe or page == "doctor.py"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_how_to_migrate(open_page: Open, page: str) -> None:
    app = open_page(page)

    assert "opskit migrate" in said(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_that_the_database_is_away(open_page: Open, page: str) -> None:
    app = open_page(page, DATABASE_URL=f"postgresql://nobody@127.0.0.1:{_free_port()}/none")

    assert "cannot be reached" in said(app)
    assert "comes back by itself" in said(app)


def test_a_setting_that_cannot_be_used_is_one_sentence(open_page: Open) -> None:
    assert "OPSKIT_ENV is" in said(open_page(OPSKIT_ENV="staging"))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_the_last_known_numbers_stay_with_their_age(
    open_page: Open, full: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page()
    queued = metric(app, "Queued")

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError

    with monkeypatch.context() as patched:
        for name in readings.STATISTICS:
            patched.setitem(readings.STATISTICS, name, away)
        readings.forget()
        app.run()

    assert fine(app)
    assert "last known numbers" in said(app)
    assert metric(app, "Queued") == queued == "1"

    readings.forget()
    st.cache_resource.clear()
    app.run()
    assert fine(app)
    assert not [box for box in app.error if box.icon == AWAY]


def test_a_slow_reading_holds_nobody_up_once_it_is_known(
    open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_page()
    before = readings.read("concurrency")
    monkeypatch.setattr(readings, "SLOW_SECONDS", 0.0)
    execute(db, "INSERT INTO {files} (original_filename) VALUES ('new.csv')")

    # Past the age at which a quick one is waited for.
    readings._reading.clear()

    assert readings.read("concurrency") is before
    assert readings.fresh("concurrency").rows()[0]["queued"] == 1
    readings.forget()
    assert readings.read("concurrency").taken_at > before.taken_at


# -- the environment ------------------------------------------------------------------------------


@pytest.mark.parametrize(("env", "badge"), [("production", "PRODUCTION"), ("development", "development")])
def test_the_environment_is_always_in_sight(open_page: Open, db: Database, env: str, badge: str) -> None:
    assert badge in said(open_page("history.py", OPSKIT_ENV=env))


# -- the numbers ----------------------------------------------------------------------------------


def test_the_overview_shows_what_the_database_says(open_page: Open, full: Database) -> None:
    app = open_page()

    now = full.one("concurrency", stale_after_seconds=3600)
    assert metric(app, "Queued") == str(now["queued"]) == "1"
    assert metric(app, "Processing") == str(now["processing"]) == "2"
    assert metric(app, "Completed") == str(now["completed"]) == "1"
    assert metric(app, "Failed") == str(now["failed"]) == "2"
    assert metric(app, "Nodes claiming") == f"{now['claiming_nodes']} of {now['active_servers']}" == "0 of 2"
    assert metric(app, "Stale + orphaned") == "0 + 1"
    assert metric(app, "No status yet") == "1"
    assert "migrate --queue-new" in said(app)
    assert "everything is paused" in said(app)


def test_what_takes_long_to_count_is_shown_as_of_its_moment(
    open_page: Open, full: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = datetime.now(UTC) - timedelta(minutes=30)
    counted = [row | {"counted_at": moment} for row in full.run("ended")]
    monkeypatch.setattr(counts, "_ended", lambda db, patience_seconds: counted)
    execute(full, "INSERT INTO {files} (processing_status, processing_completed_at) VALUES ('completed', now())")
    execute(full, "INSERT INTO {files} (original_filename) VALUES ('waits')")

    app = open_page()

    assert f"counted as of {moment:%H:%M:%S} UTC" in said(app)
    now = full.one("concurrency", stale_after_seconds=3600)
    assert int(metric(app, "Completed")) == now["completed"] - 1
    assert int(metric(app, "Queued")) == now["queued"]


def test_what_is_not_counted_yet_is_no_zero(open_page: Open, full: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_ended", lambda db, patience_seconds: None)

    app = open_page()

    assert (metric(app, "Completed"), metric(app, "Failed")) == ("…", "…")
    assert int(metric(app, "Queued")) > 0
    assert "still being counted" in said(app)


def test_a_search_says_among_what_it_searched_and_an_id_is_always_found(
    open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_completed_at) "
        "SELECT 'file-' || n, 'completed', now() - n * interval '1 min' FROM generate_series(1, 9) AS n",
    )
    monkeypatch.setattr(listings, "SEARCH_ROWS", 5)
    app = open_page("files.py")

    app.text_input(key="search").set_value("FILE-").run()
    assert list(app.dataframe[0].value["File"]) == [f"file-{n}" for n in range(1, 10)]
    assert "Searched: all 9 files." in said(app)

    app.text_input(key="search").set_value("nothing").run()
    assert "No file meets this. Searched: all 9 files." in said(app)

    def takes_too_long(*_: Any, **__: Any) -> None:
        error = DatabaseError("PostgreSQL says: canceling statement due to statement timeout")
        error.sqlstate = "57014"
        raise error

    monkeypatch.setattr(searching, "found", takes_too_long)
    app.text_input(key="search").set_value("file-").run()
    assert list(app.dataframe[0].value["File"]) == [f"file-{n}" for n in range(1, 6)]
    assert "Searched: the newest 5, and every file's id; all 9 take too long." in said(app)

    (old,) = execute(db, "SELECT id::text AS id FROM {files} WHERE original_filename = 'file-9'")
    app.text_input(key="search").set_value(old["id"]).run()
    assert "file-9" in list(app.dataframe[0].value["File"])


def test_nothing_to_do_is_one_calm_line(open_page: Open, db: Database) -> None:
    app = open_page()

    assert [element.value for element in app.success] == ["Nothing needs you now: no node runs, 0 failed in 24 h."]
    assert not app.warning


def test_many_servers_stay_readable(open_page: Open, db: Database) -> None:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_completed_at) "
        "SELECT 'f', 'completed', 'host-' || n, now() FROM generate_series(1, 40) AS n",
    )

    assert "host-40" in tables(open_page())


def test_files_are_found_by_state_and_name(open_page: Open, full: Database) -> None:
    app = open_page("files.py")

    app.selectbox(key="state").set_value("failed")
    app.text_input(key="search").set_value("WORSE").run()

    assert fine(app)
    assert "worse.csv" in tables(app)
    assert "bad.csv" not in tables(app)


def test_more_files_than_are_shown_are_admitted(open_page: Open, db: Database) -> None:
    execute(
        db,
        "INSERT INTO {files} (original_filename, processing_status) "
        "SELECT 'f-' || n, 'queued' FROM generate_series(1, 301) AS n",
    )
    app = open_page("files.py")
    assert "there are more" in said(app)

    click(app, "more")

    assert "All 301 files" in said(app)


def test_one_file_tells_its_story(open_page: Open, full: Database) -> None:
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    queue.requeue(full, [bad["id"]], actor="ann", reason="parser mended")
    app = open_page("files.py")

    app.query_params["file"] = bad["id"]
    app.run()

    assert fine(app)
    assert "requeued, was failed" in tables(app)
    assert "parser mended" in tables(app)


# -- the actions ----------------------------------------------------------------------------------


def test_the_cleanup_button_fails_what_is_stale_and_nothing_else(open_page: Open, db: Database) -> None:
    stale, young = old_claim(db, "stale.csv", 120), old_claim(db, "young.csv", 59)
    app = open_page()

    click(app, "cleanup")
    assert "1 claim" in said(app)
    assert "stale.csv" in tables(app)
    assert status(db, stale) == "processing"

    app.text_input(key="actor_name").set_value("ann")
    app.text_input(key="actor_reason").set_value("old processor is gone")
    click(app, "confirm_button")

    assert "1 ended, 0 pending a second look, 0 skipped because they moved" in said(app)
    assert status(db, stale) == "failed"
    assert status(db, young) == "processing"
    (event,) = db.run("events", file_id=stale, kind="", row_limit=10)
    assert event["actor"] == "ann (page, 127.0.0.1)"
    assert "Processing timeout" in event["reason"]


def test_a_claim_that_moves_while_the_dialog_is_open_is_skipped(open_page: Open, db: Database) -> None:
    stale = old_claim(db, "stale.csv", 120)
    app = click(open_page(), "cleanup")
    execute(db, "UPDATE {files} SET processing_status = 'completed' WHERE id::text = %s", stale)

    click(app, "confirm_button")

    assert "1 skipped because they moved" in said(app)
    assert status(db, stale) == "completed"


def test_a_dead_nodes_claim_is_requeued_by_the_second_look(open_page: Open, full: Database) -> None:
    app = click(open_page(), "cleanup")
    assert "second look" in said(app)
    execute(full, "UPDATE {nodes} SET looked_at = looked_at - interval '3 seconds'")

    click(app, "confirm_button")

    assert "1 ended" in said(app)
    (two,) = execute(full, "SELECT processing_status FROM {files} WHERE original_filename = 'two.csv'")
    assert two["processing_status"] == "queued"


def test_what_a_cleanup_failed_can_be_requeued_at_once(open_page: Open, db: Database) -> None:
    stale = old_claim(db, "stale.csv", 120)
    app = click(click(open_page(), "cleanup"), "confirm_button")
    assert status(db, stale) == "failed"

    click(click(app, "requeue_result"), "confirm_button")

    assert status(db, stale) == "queued"
    assert "1 file requeued" in said(app)


def test_nothing_to_clean_up_asks_for_nothing(open_page: Open, db: Database) -> None:
    app = click(open_page(), "cleanup")

    assert "No stale processing locks found" in said(app)
    assert not [button for button in app.button if button.key == "confirm_button"]


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


def test_the_history_tells_operators_from_nodes(open_page: Open, full: Database) -> None:
    old_claim(full, "stale.csv", 120)
    app = click(click(open_page(), "cleanup"), "confirm_button")
    execute(
        full,
        "INSERT INTO {events} (kind, outcome, server_id, reason, actor) "
        "VALUES ('attempt', 'raised', 'node-1', 'by itself', 'node-1')",
    )
    app.switch_page("views/history.py").run()
    assert "by itself" in tables(app)

    app.pills(key="kind").set_value("operators").run()

    assert fine(app)
    assert "by itself" not in tables(app)
    assert "Processing timeout" in tables(app)
    assert "disk *full*" in tables(app)


# -- cleanup, claim by claim ----------------------------------------------------------------------


def boxes(app: AppTest) -> dict[str, bool]:
    """The claims offered, by the names of their files."""
    return {box.label.replace("\\", ""): bool(box.value) for box in app.checkbox if str(box.key).startswith("end ")}


def expire(db: Database, server_id: str, *, seen: bool) -> None:
    """A node whose lease has run out; *seen*: a first look saw it before."""
    execute(
        db,
        "UPDATE {nodes} SET lease_until = now() - interval '5 min', looked_lease = NULL WHERE server_id = %s",
        server_id,
    )
    if seen:
        execute(
            db,
            "UPDATE {nodes} SET looked_lease = lease_until, looked_at = now() - interval '1 min' WHERE server_id = %s",
            server_id,
        )


def test_the_cleanup_page_says_of_each_claim_why_and_ticks_only_the_dead(open_page: Open, full: Database) -> None:
    old_claim(full, "stale.csv", 120)
    old_claim(full, "young.csv", 9)
    expire(full, "node-2", seen=True)
    execute(full, "UPDATE {files} SET processing_started_at = now() - interval '2 h' WHERE processing_epoch = 1")
    execute(full, "UPDATE {nodes} SET progress_at = now() - interval '90 min', stale_after_seconds = 3600")

    app = open_page("cleanup.py")

    assert boxes(app) == {"one *bold* [x](y).csv": False, "two.csv": True, "stale.csv": True}
    words = said(app)
    assert "node-2 is dead**: its lease ended 5 min" in words
    assert "node-1 is alive, but this takes long**: no progress for 1 h 30 min; the limit is 1 h" in words
    assert "Nobody knows legacy-1**, and it has held the file for 2 h; the limit is 1 h" in words
    assert "**2** dead · **1** alive but long" in words
    assert "young.csv" in tables(app)
    assert "unknown, still young" in tables(app)


def test_a_node_that_has_started_again_is_told_from_a_silent_one(open_page: Open, full: Database) -> None:
    execute(full, "UPDATE {nodes} SET epoch = 2, first_epoch = 2 WHERE server_id = 'node-1'")
    expire(full, "node-2", seen=False)

    app = open_page("cleanup.py")

    assert boxes(app) == {"one *bold* [x](y).csv": True, "two.csv": False}
    assert "node-1 has started again since, 1 h ago" in said(app)
    assert "**node-2 is silent**" in said(app)
    # Opening the page was the first look; by the second the silent one is dead.
    execute(full, "UPDATE {nodes} SET looked_at = looked_at - interval '3 s'")
    readings.forget()
    app.run()
    assert fine(app)
    assert "**node-2 is dead**" in said(app)


def test_a_dead_node_with_a_session_is_cut_off_or_frozen(open_page: Open, full: Database) -> None:
    expire(full, "node-2", seen=True)
    (boot,) = execute(full, "SELECT left(boot::text, 8) AS boot FROM {nodes} WHERE server_id = 'node-2'")
    name = f"opskit development {boot['boot']} node-2"

    with psycopg.connect(full.settings.database_url or "", application_name=name):
        app = open_page("cleanup.py")

    assert "Yet it still holds a database session" in said(app)
    assert "1 open" in said(app)


def test_only_what_is_approved_is_ended_and_can_be_requeued(open_page: Open, db: Database) -> None:
    one, two, moved = (old_claim(db, f"{name}.csv", 120) for name in ("one", "two", "moved"))
    app = open_page("cleanup.py")
    box = next(box for box in app.checkbox if box.label == "two.csv")
    box.uncheck().run()

    click(app, "end_claims")
    assert "2 claims** to end: 2 would fail" in said(app)
    execute(db, "UPDATE {files} SET processing_status = 'completed' WHERE id::text = %s", moved)
    click(app, "confirm_button")

    assert "1 ended, 0 pending a second look, 1 skipped because they moved" in said(app)
    assert "it has moved on by itself" in tables(app)
    assert [status(db, file_id) for file_id in (one, two, moved)] == ["failed", "processing", "completed"]
    click(click(app, "requeue_result"), "confirm_button")
    assert status(db, one) == "queued"


def test_all_claims_are_ticked_and_none(open_page: Open, full: Database) -> None:
    old_claim(full, "stale.csv", 120)
    expire(full, "node-2", seen=False)
    app = open_page("cleanup.py")

    assert all(boxes(click(app, "tick_all")).values())
    assert not any(boxes(click(app, "tick_none")).values())
    assert app.button(key="end_claims").disabled


def test_a_read_only_cleanup_page_takes_no_look(open_page: Open, full: Database) -> None:
    expire(full, "node-2", seen=False)

    open_page("cleanup.py", OPSKIT_READ_ONLY="1")

    (node,) = execute(full, "SELECT looked_lease FROM {nodes} WHERE server_id = 'node-2'")
    assert node["looked_lease"] is None


# -- timeline, doctor, failures, history ----------------------------------------------------------


def test_the_timeline_is_drawn_in_the_viewers_zone(
    open_page: Open, full: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "zone", lambda: "Asia/Kolkata")

    app = open_page("timeline.py")

    (chart,) = app.get("plotly_chart")
    assert json.loads(chart.proto.spec)["layout"]["xaxis"]["title"]["text"] == "time [Asia/Kolkata]"


def test_the_timeline_shows_attempts_and_marks_and_cries_over_overlaps(open_page: Open, full: Database) -> None:
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    for number in (1, 2):
        execute(
            full,
            "INSERT INTO {events} (at, kind, outcome, next_status, file_id, server_id, attempt, started_at) "
            "VALUES (now() - interval '20 min', 'attempt', 'raised', 'queued', %s, %s, %s, now() - interval '30 min')",
            bad["id"], f"node-{number}", number,
        )  # fmt: skip

    app = open_page("timeline.py")

    assert "2 attempts** overlap" in said(app)
    assert "bad.csv" in tables(app)
    assert "paused all nodes" in tables(app)
    click(app, "earlier")
    assert "ends 30 min ago" in said(app)
    assert "2 attempts** overlap" in said(click(app, "earlier")) or "0 attempts" in said(app)


def test_the_doctor_says_what_why_and_what_mends_it(open_page: Open, full: Database) -> None:
    queue.resume(full, "*", actor="ann")
    app = open_page("doctor.py")
    assert "node-4 is paused" in said(app)
    assert "opskit resume node-4" in said(app)

    queue.resume(full, "node-4", actor="ann")
    click(app, "examine_again")

    assert "node-4 is paused" not in said(app)


def test_the_doctor_says_when_all_is_well(open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readings.STATISTICS, "doctor", lambda db: [])

    assert "All is well" in said(open_page("doctor.py"))


def test_the_doctor_shows_the_runbook_beside_its_finding(open_page: Open, db: Database) -> None:
    execute(db, "INSERT INTO dev_uploaded_files (original_filename) VALUES ('a.csv')")

    app = open_page("doctor.py")

    assert [one.label for one in app.expander] == ["Runbook: No node is alive"]
    assert "opskit worker --drain" in said(app)


def test_the_overview_leads_to_the_runbook_of_a_finding(open_page: Open, db: Database) -> None:
    execute(db, "INSERT INTO dev_uploaded_files (original_filename) VALUES ('a.csv')")

    assert "[What to do](doctor?runbook=no-node-alive)" in said(open_page())


def test_an_alerts_address_opens_its_runbook_also_while_the_database_is_away(open_page: Open) -> None:
    app = open_page(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    app.query_params["runbook"] = "breaker-open"
    app.switch_page("views/doctor.py").run()

    assert fine(app)
    assert "The breaker is open" in said(app)
    assert "doctor?runbook=" not in said(app) or "](doctor?runbook=" in said(app)


def test_an_address_with_an_unknown_runbook_says_which_there_are(open_page: Open, db: Database) -> None:
    app = open_page()
    app.query_params["runbook"] = "<b>nonsense"
    app.switch_page("views/doctor.py").run()

    assert fine(app)
    assert "there is no runbook '<b>nonsense'; there are: breaker-open" in said(app)


def test_a_group_of_failures_leads_to_its_files(open_page: Open, full: Database) -> None:
    app = open_page("failures.py")
    choose(app, "group", "line # is $bad$")
    assert "worse.csv" in tables(app)
    assert "bad.csv" in tables(app)

    app.segmented_control(key="within").set_value("3600").run()
    assert fine(app)
    assert "worse.csv" not in app.dataframe[1].value.to_string()

    tick(app, "failed files ", 0)
    click(click(app, "requeue_members"), "confirm_button")
    assert "1 file requeued" in said(app)


def test_the_history_keeps_the_row_as_it_was_before(open_page: Open, full: Database) -> None:
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    queue.requeue(full, [bad["id"]], actor="ann", reason="parser mended")
    app = open_page("history.py")

    tick(app, "events ", 0)

    before = "\n".join(element.value.to_string() for element in app.table).replace("\\", "")
    assert "The row as it was before" in said(app)
    assert "line 7 is $bad$" in before
    assert "parser mended" in before


# -- where the numbers come from ------------------------------------------------------------------

VOLATILE = re.compile(
    r"seconds_since|_per_minute$|oldest_queued_seconds|^minutes_|^as_of$|^counted_at$|^ended_at$|^beat_at$|^example$"
)
"""What differs from one moment to the next: ages, and the ends of what still runs."""


@pytest.fixture
def busy(full: Database) -> Database:
    """A full database whose every statistic has something to say."""
    old_claim(full, "stale.csv", 120)
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    queue.requeue(full, [bad["id"]], actor="ann", reason="parser mended")
    return full


def plain(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows as text, without what changes from moment to moment, in an order of their own."""
    shown = [
        {name: _as_text(value) for name, value in row.items() if not VOLATILE.search(name)}
        for row in rows
    ]  # fmt: skip
    return sorted(shown, key=lambda row: sorted(row.items()))


def _as_text(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    text = {True: "t", False: "f"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    if re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", text):
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat(timespec="milliseconds")
    return f"{float(text):g}" if re.fullmatch(r"\d+\.\d+", text) else text


def asked_api(db: Database, path: str) -> Any:
    """What the API answers, without a network."""

    async def ask() -> Any:
        transport = httpx.ASGITransport(create_api(db, db.settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

    return asyncio.run(ask())


def snake(row: dict[str, Any]) -> dict[str, Any]:
    return {re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name): value for name, value in row.items()}


def in_a_notebook(cell: str, db: Database) -> Any:
    """What a notebook shows under a cell: its last expression."""
    found: dict[str, Any] = {"opskit": SimpleNamespace(connect=lambda: db)}
    *before, last = re.sub(r"^import opskit$", "", cell, flags=re.MULTILINE).strip().splitlines()
    exec("\n".join(before), found)
    return eval(last, found)


# The table of these tests has no lanes.
NAMES = [
    name for name, of in sources.SOURCES.items() if of.python.startswith("stats.") and name not in ("claims", "lanes")
]


@pytest.mark.parametrize("name", NAMES)
def test_page_api_notebook_shell_psql_and_python_give_the_same_numbers(
    open_page: Open, busy: Database, settings: Settings, name: str
) -> None:
    of = sources.SOURCES[name]
    expected = plain(stats.records(getattr(stats, name)(busy)))
    assert expected, "nothing to compare"

    open_page()
    reading = readings.read(name)
    assert plain(stats.records(reading.frame)) == expected  # type: ignore[arg-type]
    assert plain(stats.records(in_a_notebook(sources.notebook_cell(of, reading), busy))) == expected

    shown = plain(ask_psql(settings, of.sql[-1]))
    if name == "timeline":
        # Names of files that only the events know are a second query.
        for row in (*shown, *expected):
            row.pop("original_filename")
        shown, expected = sorted(shown, key=str), sorted(expected, key=str)
        assert shown == expected
        expected = plain(stats.records(stats.timeline(busy)))
    else:
        assert shown == expected

    verbs = build_parser()._actions[-1].choices["stats"]._actions  # type: ignore[index]
    known = next(action.choices for action in verbs if action.dest == "what")
    if of.verb and of.verb.split()[1] in known:
        told = tables_opskit(settings, *of.verb.split())
        assert told.returncode == 0, told.stderr
        assert plain(json.loads(told.stdout)) == expected

    if of.path and f"/processing/{of.path}" in asked_api(busy, "/openapi.json")["paths"]:
        answer = asked_api(busy, f"/processing/{of.path}")
        if name == "concurrency":
            (now,) = expected
            renamed = {"staleProcessingFiles": "stale_files"}
            numbers = {**answer.pop("byStatus"), **{renamed.get(key, key): value for key, value in answer.items()}}
            numbers = {key: value for key, value in snake(numbers).items() if key in now}
            assert plain([numbers]) == [{key: value for key, value in now.items() if key in numbers}]
            assert len(numbers) >= 9
        else:
            answer = answer if isinstance(answer, list) else [answer]
            assert plain([snake(row) for row in answer]) == expected


def test_every_panel_says_where_its_numbers_come_from(open_page: Open, busy: Database) -> None:
    for page in PAGES:
        app = open_page(page)
        keys = [key for key in app.session_state._state.filtered_state if str(key).startswith("source ")]
        assert keys, f"{page} has no such menu"
        for key in keys:
            app.session_state[key] = True
        app.run()
        assert fine(app)
        words = said(app)
        assert "opskit.connect()" in words
        assert [button.label for button in app.get("download_button")]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in sources.SOURCES if name != "lanes"])
def test_every_reading_has_its_doors_and_its_files(open_page: Open, busy: Database, name: str) -> None:
    open_page()
    values: dict[str, dict[str, Any]] = {
        "claims": {"look": False},
        "event": {"event_id": 1},
        "failed_files": {"error": "line # is $bad$", "since_seconds": "", "limit": 5},
        "file": {"file_id": "1"},
        "files": {"status": "", "server_id": "", "search": "it's", "limit": 5},
        "events": {"kind": "pause", "limit": 5},
    }
    reading = readings.read(name, **values.get(name, {}))
    of, own = sources.SOURCES[name], readings.settings()
    assert reading.error is None

    cell, line = sources.notebook_cell(of, reading), sources.psql_line(of, reading, own)

    in_a_notebook(cell, busy)
    if line:
        done = psql(own, *shlex.split(line)[2:])
        assert done.returncode == 0, done.stderr
    frame = sources.as_frame(reading)
    again = pd.read_parquet(io.BytesIO(sources._parquet(frame)))
    assert len(again) == len(frame)


# -- sign-in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("email", "role"),
    [
        ("ann@example.com", "operator"),
        ("ANN@Example.com", "operator"),
        ("bob@ops.example.com", "operator"),
        ("cid@example.com", "viewer"),
        ("eve@evil.example", None),
        ("ann@example.com.evil.example", None),
        ("", None),
    ],
)
def test_a_role_goes_by_the_address(monkeypatch: pytest.MonkeyPatch, email: str, role: str | None) -> None:
    for name, value in ROLES.items():
        monkeypatch.setenv(name, value)

    assert sign_in.roles().of(email) == role


def test_without_sign_in_everything_is_as_before(open_page: Open, db: Database) -> None:
    assert not open_page().button(key="cleanup").disabled


def test_who_has_not_signed_in_sees_nothing_but_the_door(
    open_page: Open, full: Database, signed_in: Callable[..., None]
) -> None:
    app = open_page(**ROLES)

    assert [button.key for button in app.button] == ["sign_in"]
    assert not app.dataframe
    assert not app.metric
    assert full.settings.files not in said(app)


@pytest.mark.parametrize(
    ("email", "claims"), [("eve@evil.example", {}), ("ann@example.com", {"email_verified": False})]
)
def test_who_has_no_role_stays_outside(
    open_page: Open, full: Database, signed_in: Callable[..., None], email: str, claims: dict[str, object]
) -> None:
    signed_in(email, **claims)

    app = open_page(**ROLES)

    assert [button.key for button in app.button] == ["sign_out"]
    assert email in said(app)
    assert not app.metric


def test_a_viewer_looks_and_an_operator_acts_under_their_own_name(
    open_page: Open, db: Database, signed_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Caller.with_headers("192.0.2.7", {"Host": "ops.example", "Origin": "https://ops.example"}, None)
    monkeypatch.setattr(permission, "client", lambda: elsewhere)
    signed_in("cid@example.com")
    app = open_page(**ROLES)
    assert app.button(key="cleanup").disabled
    assert "OPSKIT_OPERATORS does not name you" in app.button(key="cleanup").help

    signed_in("ann@example.com")
    app = click(open_page(**ROLES), "pause_all")
    click(app, "confirm_button")

    (pause,) = db.run("pauses")
    assert pause["actor"] == "ann@example.com (page, 192.0.2.7)"


def test_a_dialog_left_open_is_refused_once_the_operator_is_none(
    open_page: Open, db: Database, signed_in: Callable[..., None]
) -> None:
    signed_in("ann@example.com")
    app = click(open_page(**ROLES), "pause_all")
    signed_in("cid@example.com")

    click(app, "confirm_button")

    assert not db.run("pauses")
    assert "OPSKIT_OPERATORS does not name you" in said(app)


def test_a_sign_in_that_ends_while_the_page_is_open_acts_and_shows_no_more(
    open_page: Open, full: Database, signed_in: Callable[..., None]
) -> None:
    signed_in("ann@example.com")
    app = click(open_page(**ROLES), "pause_all")
    assert app.metric
    before = full.run("pauses")
    signed_in("ann@example.com", iat=time.time() - 13 * 3600)

    click(app, "confirm_button")

    assert full.run("pauses") == before
    app.run()
    assert not app.metric
    assert "holds for 12 hours" in said(app)
    assert [button.key for button in app.button] == ["sign_in", "sign_out"]


@pytest.mark.parametrize(("read_only", "origin"), [("1", "https://ops.example"), ("0", "https://evil.example")])
def test_signing_in_outweighs_neither_read_only_nor_a_foreign_page(
    open_page: Open,
    db: Database,
    signed_in: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    read_only: str,
    origin: str,
) -> None:
    foreign = Caller.with_headers("192.0.2.7", {"Host": "ops.example", "Origin": origin}, None)
    monkeypatch.setattr(permission, "client", lambda: foreign)
    signed_in("ann@example.com")

    assert open_page(**ROLES, OPSKIT_READ_ONLY=read_only).button(key="cleanup").disabled


@pytest.mark.parametrize(
    ("token", "path", "headers", "status"),
    [
        ("secret", "/api/processing/nodes", {}, 401),
        ("secret", "/metrics", {}, 401),
        ("secret", "/api/processing/nodes", {"Authorization": "Bearer secret"}, 200),
        ("secret", "/healthz", {}, 200),
        (None, "/api/processing/nodes", {}, 403),
        (None, "/api/docs", {"Authorization": "Bearer "}, 403),
        (None, "/metrics", {"Authorization": "Bearer None"}, 403),
        (None, "/healthz", {}, 200),
    ],
)
def test_where_people_sign_in_the_api_reads_for_the_token_only(
    db: Database, monkeypatch: pytest.MonkeyPatch, token: str | None, path: str, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")
    monkeypatch.setattr(readings, "database", lambda: db)
    app = Starlette(routes=server.routes(dataclasses.replace(db.settings, api_token=token)))

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return (await client.get(path, headers=headers)).status_code

    assert asyncio.run(ask()) == status


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "ok\r=1", "\n=1", "＝1", "＋1"]
)
def test_a_download_holds_no_formula(text: str) -> None:
    frame = pd.DataFrame(
        {
            "name": pd.array([text, "plain=1", None], dtype="string"),
            "any": pd.Series([text, {"=": 1}, None], dtype=object),
            "count": pd.array([-1, None, 2], dtype="Int64"),
        }
    )

    kept = pd.read_csv(io.BytesIO(sources.csv(frame)), keep_default_na=False, dtype=str)

    told = text if text.startswith("ok") else "'" + text
    assert list(kept["name"]) == [told, "plain=1", ""]
    assert list(kept["any"]) == [told, "{'=': 1}", ""]
    assert list(kept["count"]) == ["-1", "", "2"]


# -- the launcher ---------------------------------------------------------------------------------


def test_an_open_address_without_a_token_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingError, match="OPSKIT_API_TOKEN"):
        server.check(dataclasses.replace(settings, host="0.0.0.0"))

    server.check(dataclasses.replace(settings, host="0.0.0.0", api_token="secret"))


def test_a_token_that_can_be_guessed_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingError, match="OPSKIT_API_TOKEN has 5 characters"):
        server.check(dataclasses.replace(settings, api_token="short"))


@pytest.mark.parametrize("tenant", ["common", "organizations", "Consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"])
def test_a_provider_that_lets_every_organisation_in_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")
    url = "https://login.microsoftonline.com/{}/v2.0/.well-known/openid-configuration"
    section = {**dict.fromkeys(sign_in.KEYS, "x"), "server_metadata_url": url.format("b2f1a3c4-0000-4000-8000-1")}
    monkeypatch.setattr(st, "secrets", {"auth": section})
    server.check(settings)

    for bad in ({**section, "server_metadata_url": url.format(tenant)},
                {**section, "microsoft": {"server_metadata_url": url.format(tenant)}}):  # fmt: skip
        monkeypatch.setattr(st, "secrets", {"auth": bad})
        with pytest.raises(SettingError, match="people of every organisation"):
            server.check(settings)


@pytest.mark.parametrize(
    ("claims", "trust", "verified"),
    [
        ({"email_verified": True}, False, True),
        ({"email_verified": "true"}, False, True),
        ({}, False, False),
        ({}, True, True),
        ({"xms_edov": True}, False, True),
        ({"xms_edov": "1"}, False, True),
        ({"xms_edov": False}, False, False),
        ({"xms_edov": None}, False, False),
        ({"email_verified": False}, True, False),
        ({"email_verified": None}, True, False),
        ({"email_verified": "false", "xms_edov": True}, True, False),
        ({"email_verified": 0, "xms_edov": True}, True, False),
        ({"email_verified": "True "}, True, False),
    ],
)
def test_an_address_counts_when_the_provider_or_a_setting_says_so(
    claims: dict[str, object], trust: bool, verified: bool
) -> None:
    assert identity.user_of(claims, hours=12, trust_unverified=trust).verified is verified


@pytest.mark.parametrize(
    ("age_hours", "expired"), [(0, False), (11.9, False), (12.1, True), (700, True), (-0.05, False), (-1, True)]
)
def test_a_sign_in_holds_for_some_hours(age_hours: float, expired: bool) -> None:
    claims = {"iat": time.time() - age_hours * 3600}

    assert identity.user_of(claims, hours=12, trust_unverified=False).expired is expired


@pytest.mark.parametrize("iat", [None, "", "1790000000", True, float("nan"), float("inf"), [], -1])
def test_a_sign_in_that_does_not_say_when_it_was_does_not_hold(iat: object) -> None:
    assert identity.user_of({"iat": iat}, hours=12, trust_unverified=False).expired


def test_sign_in_opens_an_address_and_needs_a_provider(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSKIT_VIEWERS", "*@example.com")
    monkeypatch.setattr(st, "secrets", {})
    with pytest.raises(SettingError, match=r"nobody could sign in: .streamlit/secrets.toml has no section \[auth\]"):
        server.check(settings)
    section = dict.fromkeys(sign_in.KEYS, "x")
    for key in sign_in.KEYS:
        monkeypatch.setattr(st, "secrets", {"auth": {**section, key: ""}})
        with pytest.raises(SettingError, match=f"has no {key}$"):
            server.check(settings)
    monkeypatch.setattr(st, "secrets", {"auth": section})
    server.check(settings)

    monkeypatch.setattr(sign_in, "lacking", lambda: "")
    server.check(dataclasses.replace(settings, host="0.0.0.0"))


def test_refusing_to_start_is_one_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["opskit dashboard"])

    assert server.main(["--host", "0.0.0.0"]) == 1

    assert capsys.readouterr().err.count("\n") == 1


def test_operators_given_as_a_flag_are_asked_for_a_provider_as_those_of_the_environment_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["opskit dashboard"])
    monkeypatch.setattr(st, "secrets", {})
    monkeypatch.setattr(os, "environ", dict(os.environ))

    assert server.main(["--operators", "*@example.com"]) == 1

    assert "nobody could sign in" in capsys.readouterr().err


def test_the_launchers_options_are_the_packages() -> None:
    beside = HERE.parents[2] / ".streamlit" / "config.toml"

    assert beside.read_text() == (HERE / ".streamlit" / "config.toml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["files", "claims", "doctor", "throughput"])
def test_a_panel_is_opened_as_a_notebook_that_runs_with_the_panels_filters(
    busy: Database, name: str, tmp_path: Path
) -> None:
    values = {"files": (("status", "queued"), ("limit", 3)), "throughput": (("since_seconds", 7200.0),)}.get(name, ())
    reading = readings.Reading(None, datetime.now(UTC), name=name, values=values)

    text = sources.notebook_file(sources.SOURCES[name], reading, busy.settings)

    book = nbformat.reads(text.decode(), as_version=4)
    nbformat.validate(book)
    assert f"env={busy.settings.env!r}" in book.cells[1].source
    client = NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, **busy.settings.environ()})
    (shown,) = book.cells[-1].outputs
    assert "text/html" in shown["data"]
    for _, value in values:
        assert repr(value) in book.cells[-1].source
