"""A node's page says its memory and what its attempts said; its lists are cards on a phone, as a file's attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from opskit.database import Database
from tests.support.browsing import seed
from tests.support.chromium import CHROMIUM
from tests.support.dashboard import ROLES, Open, execute, fine, said, tables

CLAIM = "00000000-0000-0000-0000-000000000001"
ENDED, RAISED = (f"00000000-0000-0000-0000-00000000000{n}" for n in (8, 9))


@pytest.fixture
def talked(full: Database) -> Database:
    """A claim, an attempt that went well and one that went wrong have said something on node-1; node-2 its own."""
    execute(full, "UPDATE {files} SET processing_done_token = %s WHERE original_filename = 'bad.csv'", ENDED)
    execute(
        full,
        "INSERT INTO {events} (kind, outcome, next_status, file_id, server_id, token, attempt, reason) "
        "SELECT 'attempt', 'raised', 'queued', id::text, 'node-1', %s, 7, 'bad' FROM {files} "
        "WHERE original_filename = 'worse.csv'",
        RAISED,
    )
    for token, text in (
        (CLAIM, "reads line 5"), (ENDED, "reads line 7"), (RAISED, "<b>gives up</b>"),
        ("00000000-0000-0000-0000-000000000002", "a word of node-2"),
    ):  # fmt: skip
        execute(full, "INSERT INTO {logs} (token, sequence, size, text) VALUES (%s, 0, %s, %s)", token, len(text), text)
    execute(full, 'UPDATE {nodes} SET memory_bytes = 48000000, lanes = \'{{"only": ["north"]}}\'')
    return full


def opened(open_page: Open, name: str, variables: dict[str, str] | None = None, *, log: bool = True) -> AppTest:
    app = open_page("node.py", **(variables or {}))
    app.query_params["id"] = name
    app.run()
    if log:
        app.session_state["log"] = True
        app.run()
    assert fine(app)
    return app


def test_a_node_tells_what_its_attempts_said_the_newest_first_and_whose_it_was(
    open_page: Open, talked: Database
) -> None:
    app = opened(open_page, "node-1")

    code = [element.value for element in app.code]
    assert code[-3:] == ["<b>gives up</b>", "reads line 7", "reads line 5"]
    assert "attempt 7" in said(app)
    assert "a word of node-2" not in said(app)
    files = [link.proto.label.replace("\\", "") for link in app.get("page_link") if link.proto.page == "file"]
    assert {"bad.csv", "one *bold* [x](y).csv"} <= set(files)


def test_what_attempts_said_is_read_only_once_somebody_asks_who_may(
    open_page: Open, talked: Database, signed_in: Callable[..., None]
) -> None:
    assert "reads line" not in said(opened(open_page, "node-1", log=False))

    signed_in("cid@example.com")
    words = said(opened(open_page, "node-1", ROLES))

    assert "Only operators see" in words
    assert "reads line" not in words


def test_a_node_whose_attempts_said_nothing_says_so(open_page: Open, talked: Database) -> None:
    assert "They have said nothing that is kept" in said(opened(open_page, "node-4"))


def test_the_memory_and_the_lanes_of_a_node_are_told(open_page: Open, talked: Database) -> None:
    words = said(opened(open_page, "node-1"))
    assert "memory 48 MB" in words
    assert "takes lanes north" in words

    (line, *_) = open_page("nodes.py").dataframe[0].value.to_dict("records")

    assert (line["Node"], line["Memory [MB]"], line["Takes lanes"]) == ("node-1", 48, "north")
    assert "Lane" not in line


def test_the_memory_of_a_node_that_is_gone_is_not_told(open_page: Open, talked: Database) -> None:
    assert "memory" not in said(opened(open_page, "node-2"))
    lines = {line["Node"]: line for line in open_page("nodes.py").dataframe[0].value.to_dict("records")}
    assert lines["node-2"]["Memory [MB]"] != lines["node-2"]["Memory [MB]"]  # not a number


def test_lanes_are_no_column_where_no_node_has_one(open_page: Open, full: Database) -> None:
    open_nodes = tables(open_page("nodes.py"))

    assert "Takes lanes" not in open_nodes


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_a_phone_shows_a_nodes_lists_and_a_files_attempts_as_cards(
    open_tab: Callable[..., Page], url: str, db: Database
) -> None:
    seed(db)
    (file,) = execute(db, "SELECT id::text AS id FROM {files} WHERE original_filename = 'done-10'")
    execute(
        db,
        "INSERT INTO {events} (kind, outcome, next_status, file_id, server_id, attempt, reason) "
        "VALUES ('attempt', 'raised', 'queued', %s, 'node-2', 1, 'ValueError: bad')",
        file["id"],
    )
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}}

    page = open_tab(path=f"/file?id={file['id']}", **phone)
    expect(page.locator(".rows tr").filter(has_text="ValueError: bad").locator("visible=true")).to_have_count(1)
    expect(page.get_by_test_id("stDataFrame").locator("visible=true")).to_have_count(0)
    page.locator(".rows").get_by_role("link", name="attempt").first.click()

    expect(page).to_have_url(f"{url}/node?id=node-2")
    expect(page.locator(".rows").get_by_role("link", name="done-10").locator("visible=true").first).to_be_visible()
    expect(page.get_by_test_id("stDataFrame").locator("visible=true")).to_have_count(0)
