"""The page, run as Streamlit runs it, on a real PostgreSQL: no page ever shows a traceback."""

from __future__ import annotations

import io
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import streamlit as st

from opskit import queue
from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue import searching
from opskit.stats import counts, list_rows
from opskit.web.dashboard import downloads, readings
from tests.support.dashboard import AWAY, Open, choose, click, execute, fine, metric, said, tables

PAGES = [
    "overview.py", "nodes.py", "files.py", "failures.py", "cleanup.py", "timeline.py", "doctor.py", "history.py",
]  # fmt: skip


# -- every page, whatever the database ------------------------------------------------------------


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_an_empty_database(open_page: Open, db: Database, page: str) -> None:
    app = open_page(page)

    assert not app.error
    assert "development" in said(app)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_a_full_database(open_page: Open, full: Database, page: str) -> None:
    app = open_page(page)

    # What the doctor finds in it is an error, too.
    assert not [box for box in app.error if box.icon == AWAY]
    assert app.dataframe or "<table" in said(app) or page == "doctor.py"


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_how_to_migrate(open_page: Open, page: str) -> None:
    app = open_page(page)

    assert "opskit migrate" in said(app)


@pytest.mark.fast_cases(1)
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


@pytest.mark.fast_cases(1)
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
    monkeypatch.setattr(list_rows, "SEARCH_ROWS", 5)
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

    assert "host-40" in said(open_page())


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


def test_a_group_of_failures_leads_to_its_files(open_page: Open, full: Database) -> None:
    app = open_page("failures.py")
    choose(app, "group", "line # is $bad$")
    assert "worse.csv" in tables(app)
    assert "bad.csv" in tables(app)

    app.segmented_control(key="within").set_value("3600").run()
    assert fine(app)
    assert "worse.csv" not in app.dataframe[1].value.to_string()

    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    choose(app, "tick", bad["id"])
    click(click(app, "requeue_members"), "confirm_button")
    assert "1 file requeued" in said(app)


def test_the_history_keeps_the_row_as_it_was_before(open_page: Open, full: Database) -> None:
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    queue.requeue(full, [bad["id"]], actor="ann", reason="parser mended")
    app = open_page("history.py")
    app.pills(key="kind").set_value("events").run()

    choose(app, "event", str(full.run("events", file_id="", kind="", row_limit=1)[0]["id"]))

    before = "\n".join(element.value.to_string() for element in app.table).replace("\\", "")
    assert "The row as it was before" in said(app)
    assert "line 7 is $bad$" in before
    assert "parser mended" in before


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

    kept = pd.read_csv(io.BytesIO(downloads.csv(frame)), keep_default_na=False, dtype=str)

    told = text if text.startswith("ok") else "'" + text
    assert list(kept["name"]) == [told, "plain=1", ""]
    assert list(kept["any"]) == [told, "{'=': 1}", ""]
    assert list(kept["count"]) == ["-1", "", "2"]
