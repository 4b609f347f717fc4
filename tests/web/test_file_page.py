"""A file's own page: its life, its attempts, the application's columns, what is in it, and who may see that."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from opskit import queue
from opskit.database import Database
from opskit.files.preview import Preview
from opskit.queue import attempt_logs, row_content
from opskit.web.authorization import Caller
from opskit.web.dashboard import file_content, permission
from tests.support.dashboard import ROLES, Open, click, execute, fine, old_claim, said, tables
from tests.support.tables import claimed


@pytest.fixture
def bad(full: Database, tmp_path: Path) -> str:
    """A failed file whose bytes are kept, in a table with columns of the application's."""
    (tmp_path / "bad.csv").write_text("name,amount\nann,7\n")
    execute(full, "ALTER TABLE {files} ADD COLUMN customer_id text, ADD COLUMN secret text, ADD COLUMN content bytea")
    (row,) = execute(
        full,
        "UPDATE {files} SET customer_id = 'c *1044*', secret = 's3cret', storage_path = %s, file_size = 18, "
        "processing_errors = 'Traceback (most recent call last):' || chr(10) || 'ValueError: line 7 is bad' "
        "WHERE original_filename = 'bad.csv' RETURNING id::text AS id",
        str(tmp_path / "bad.csv"),
    )
    return str(row["id"])


def opened(open_page: Open, file_id: str, **variables: str) -> AppTest:
    st.cache_resource.clear()
    app = open_page("file.py", **variables)
    app.query_params["id"] = file_id
    app.run()
    assert fine(app)
    return app


def look_inside(app: AppTest) -> AppTest:
    app.session_state["inside"] = True
    app.run()
    assert fine(app)
    return app


def test_a_file_tells_its_life_its_error_and_every_attempt(open_page: Open, full: Database, bad: str) -> None:
    queue.requeue(full, [bad], actor="ann", reason="parser mended")

    app = opened(open_page, bad)

    assert app.subheader[0].value == "bad\\.csv"
    assert "<b>Queued</b>" in said(app)
    assert "requeued, was failed" in tables(app)
    assert "parser mended" in tables(app)


def test_the_last_line_of_an_error_comes_first_and_the_traceback_on_demand(open_page: Open, bad: str) -> None:
    app = opened(open_page, bad)

    assert app.code[0].value == "ValueError: line 7 is bad"
    assert "Traceback" in app.expander[0].code[0].value


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("processing", ["<b>Processing</b>by node-1, for 5 min", "75 %, 1 min 4"]),
        ("failed", ["<b>Processed</b>by node-1, ran 1 min", '<li class="bad"', "<b>Failed</b>"]),
        ("completed", ['<li class="good"', "<b>Completed</b>"]),
        ("queued", ["<b>Queued</b>for ", "<b>Claimed</b>next"]),
        (None, ["<b>No status yet</b>waits to be let in"]),
    ],
)
def test_the_bar_of_a_files_life_says_where_it_stands(
    open_page: Open, full: Database, state: str | None, words: list[str]
) -> None:
    query = "SELECT id::text AS id FROM {files} WHERE processing_status IS NOT DISTINCT FROM %s ORDER BY files.id"
    row = execute(full, query.replace("files.id", "id"), state)[0]

    app = opened(open_page, row["id"])

    for part in words:
        assert part in said(app) + "".join(str(element.proto.text) for element in app.get("progress"))


def test_a_claim_of_an_unknown_server_says_so(open_page: Open, full: Database) -> None:
    app = opened(open_page, old_claim(full, "old.csv", 55))

    assert "by legacy-1, whom nobody knows, for 55 min" in said(app)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("file_id", ["999999", "no-such-id", ""])
def test_an_address_that_leads_to_no_file_says_so(open_page: Open, full: Database, file_id: str) -> None:
    app = opened(open_page, file_id)

    assert ("There is no file with the id" if file_id else "The address names no file") in said(app)


@pytest.mark.slow
def test_a_setting_chooses_the_columns_of_the_application(open_page: Open, bad: str) -> None:
    assert "1044" not in str(opened(open_page, bad).table[0].value)

    shown = opened(open_page, bad, OPSKIT_SHOW_COLUMNS="customer_id, no_such_column")
    everything = opened(open_page, bad, OPSKIT_SHOW_COLUMNS="*")

    assert "1044" in str(shown.table[0].value.to_dict())
    assert "s3cret" not in str(shown.table[0].value.to_dict())
    assert "s3cret" in str(everything.table[0].value.to_dict())
    assert "processing_token" not in str(everything.table[0].value.to_dict())


def test_what_is_in_a_file_is_read_when_somebody_asks(open_page: Open, bad: str) -> None:
    app = opened(open_page, bad)
    assert "amount" not in tables(app)

    app = look_inside(app)

    assert "ann" in tables(app)
    assert "All 1 row · csv" in said(app)


@pytest.mark.parametrize("encoding", ["raw", "base64"])
def test_content_in_the_row_is_read_no_further_than_it_is_shown(db: Database, encoding: str) -> None:
    kind = "text" if encoding == "base64" else "bytea"
    execute(db, f"ALTER TABLE {{files}} ADD COLUMN file_content {kind}")
    stored: Any = base64.b64encode(b"0123456789" * 1000).decode() if encoding == "base64" else b"0123456789" * 1000
    (row,) = execute(db, "INSERT INTO {files} (file_content) VALUES (%s) RETURNING id::text AS id", stored)
    object.__setattr__(db.settings, "content_encoding", encoding)

    assert row_content.content(db, row["id"]) == b"0123456789" * 1000
    assert row_content.content(db, row["id"], most_bytes=15) == b"012345678901234"


def test_who_may_not_act_sees_no_content(open_page: Open, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Caller.with_headers("192.0.2.7", {"Host": "opskit.example.com"}, None)
    monkeypatch.setattr(permission, "client", lambda: elsewhere)

    app = look_inside(opened(open_page, bad, OPSKIT_HOST="0.0.0.0"))

    assert "ann" not in tables(app)
    assert "Only operators see what is in a file" in said(app)
    assert app.get("download_button")[0].proto.disabled


@pytest.mark.slow
def test_viewers_see_content_where_a_setting_says_so(open_page: Open, bad: str, signed_in: Any) -> None:
    signed_in("cid@example.com")
    assert "Only operators see" in said(look_inside(opened(open_page, bad, **ROLES)))

    app = look_inside(opened(open_page, bad, **ROLES, OPSKIT_VIEWERS_SEE_FILES="1"))

    assert "ann" in tables(app)


def test_a_read_only_page_shows_content_to_operators(open_page: Open, bad: str) -> None:
    app = look_inside(opened(open_page, bad, OPSKIT_READ_ONLY="1"))

    assert "ann" in tables(app)
    assert app.button(key="requeue_one").disabled


def test_a_file_is_requeued_from_its_page(open_page: Open, full: Database, bad: str) -> None:
    app = click(click(opened(open_page, bad), "requeue_one"), "confirm_button")

    assert "1 file requeued" in said(app)
    assert full.one("file", id=bad)["processing_status"] == "queued"


def test_an_older_address_of_a_file_leads_to_its_page(open_page: Open, bad: str) -> None:
    app = open_page("files.py")
    app.query_params["file"] = bad
    app.run()

    assert "ValueError: line 7 is bad" in said(app)


def test_a_picture_is_drawn_from_its_own_bytes_alone() -> None:
    drawn = file_content.picture(Preview(kind="png", picture=b'"><script>', mime="image/png"))

    assert "<script" not in drawn
    assert 'src="data:image/png;base64,' in drawn


@pytest.mark.slow
def test_what_an_attempt_said_is_shown_when_somebody_asks(
    open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, token = claimed(db)
    attempt_logs.keep(
        db,
        [
            attempt_logs.Chunk(token=token, sequence=0, size=6, text="alpha\n"),
            attempt_logs.Chunk(token=token, sequence=106, size=5, text="last\n"),
        ],
    )

    def listen(app: AppTest) -> AppTest:
        app.session_state["log"] = True
        app.run()
        assert fine(app)
        return app

    assert "alpha" not in said(opened(open_page, id))
    told = said(listen(opened(open_page, id)))
    assert told.index("alpha") < told.index("… 100 bytes left out …") < told.index("last")
    elsewhere = Caller.with_headers("192.0.2.7", {"Host": "opskit.example.com"}, None)
    monkeypatch.setattr(permission, "client", lambda: elsewhere)
    assert "alpha" not in said(listen(opened(open_page, id)))
