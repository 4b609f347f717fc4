"""End this claim: with its evidence, the claim that one has seen and no other."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from opskit import queue
from opskit.database import Database
from opskit.web.authorization import Caller
from opskit.web.dashboard import permission
from tests.support.dashboard import Open, choose, click, old_claim, said, status, tables
from tests.support.tables import boot, claim, fail, files


def opened(open_page: Open, id: str) -> AppTest:
    app = open_page("file.py")
    choose(app, "id", id)
    return app


@pytest.mark.slow
def test_a_stale_claim_ends_as_by_a_cleanup_and_the_file_is_queued_again(open_page: Open, db: Database) -> None:
    id = old_claim(db, "stuck.csv", 120)
    app = click(opened(open_page, id), "end_claim")
    assert "stale: no known node holds it" in tables(app)
    assert "It would become failed, as by a cleanup." in said(app).replace("*", "")

    click(app, "confirm_button")
    assert "The claim is ended: the file failed." in said(app)
    assert status(db, id) == "failed"

    click(click(app, "requeue_result"), "confirm_button")
    assert status(db, id) == "queued"


def test_a_claim_of_a_live_node_is_cancelled_and_says_so_first(open_page: Open, db: Database) -> None:
    (id,) = files(db, "long.csv")
    node = boot(db)
    answer = claim(db, node)
    app = click(opened(open_page, id), "end_claim")
    assert "node-a** is alive and works on it" in said(app)

    click(app, "confirm_button")

    assert status(db, id) == "failed"
    (event,) = db.run("events", file_id=id, kind="cancel", row_limit=9)
    assert event["token"] == answer.token


@pytest.mark.parametrize("ended_since", [False, True])
def test_a_claim_that_another_has_ended_meanwhile_is_left_alone_and_says_who_did(
    open_page: Open, db: Database, ended_since: bool
) -> None:
    (id,) = files(db, "long.csv")
    node = boot(db)
    claim(db, node)
    app = click(opened(open_page, id), "end_claim")
    queue.cancel(db, [id], actor="bob")
    queue.requeue(db, [id], actor="bob")
    later = claim(db, boot(db, "node-b"))
    if ended_since:
        fail(db, id, later.token, max_failures=9)

    click(app, "confirm_button")

    assert "Nothing was changed: bob has ended it, at " in said(app)
    assert status(db, id) == ("queued" if ended_since else "processing")


def test_an_unknown_servers_young_claim_ends_with_a_reason(open_page: Open, db: Database) -> None:
    id = old_claim(db, "young.csv", 2)
    app = click(opened(open_page, id), "end_claim")
    assert "cannot be told" in said(app)

    app.text_input(key="actor_reason").set_value("that server is gone")
    click(app, "confirm_button")

    assert status(db, id) == "failed"
    (event,) = db.run("events", file_id=id, kind="cancel", row_limit=9)
    assert event["reason"] == "that server is gone"


def test_whoever_may_only_read_ends_nothing(open_page: Open, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    id = old_claim(db, "stuck.csv", 120)
    elsewhere = Caller.with_headers("192.0.2.7", {"Host": "127.0.0.1:8501"}, None)
    monkeypatch.setattr(permission, "client", lambda: elsewhere)

    assert opened(open_page, id).button(key="end_claim").disabled


def test_a_file_that_nobody_holds_has_no_such_button(open_page: Open, db: Database) -> None:
    (id,) = files(db, "waits.csv")

    assert not [button for button in opened(open_page, id).button if button.key == "end_claim"]
