"""Nodes that one acts on: several at once, by what is ticked, which the address keeps; and a node's own page."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from opskit import queue, stats
from opskit.cli.main import main
from opskit.database import Database
from tests.support.dashboard import Open, click, execute, fine, said, tables


def chosen(open_page: Open, *names: str, page: str = "nodes.py", parameter: str = "node") -> AppTest:
    app = open_page(page)
    app.query_params[parameter] = list(names)
    app.run()
    assert fine(app)
    return app


def states(db: Database) -> dict[str, str]:
    return {row["server_id"]: row["state"] for row in db.run("nodes")}


def test_several_nodes_are_steered_at_once(open_page: Open, full: Database) -> None:
    queue.resume(full, "*", actor="ann")
    app = chosen(open_page, "node-1", "node-4")
    assert app.button(key="pause").label == "Pause 2…"

    click(click(app, "pause"), "confirm_button")

    assert "Paused 1 node, 1 left as before" in said(app)  # node-4 was paused already
    assert {name for name, state in states(full).items() if state == "paused"} == {"node-1", "node-4"}
    assert app.query_params["node"] == ["node-1", "node-4"]

    click(click(app, "resume"), "confirm_button")

    assert "paused" not in states(full).values()


def test_what_is_refused_for_one_node_keeps_no_other_from_it(open_page: Open, full: Database) -> None:
    queue.resume(full, "*", actor="ann")
    app = click(chosen(open_page, "node-1", "node-4"), "drain")
    execute(full, "UPDATE {nodes} SET stopped_at = now() WHERE server_id = 'node-1'")

    click(app, "confirm_button")

    assert "Told to drain 1 node, 1 refused" in said(app)
    assert states(full)["node-4"] == "draining"


def test_only_what_fits_a_node_can_be_done_with_it(open_page: Open, full: Database) -> None:
    gone = chosen(open_page, "node-2")
    assert [gone.button(key=key).disabled for key in ("pause", "drain", "forget")] == [True, True, False]

    here = chosen(open_page, "node-1")
    assert [here.button(key=key).disabled for key in ("pause", "drain", "forget")] == [False, False, True]

    assert all(chosen(open_page).button(key=key).disabled for key in ("pause", "resume", "drain", "forget"))


def test_a_node_that_is_gone_is_forgotten_once_it_holds_nothing(open_page: Open, full: Database) -> None:
    app = click(click(chosen(open_page, "node-2"), "forget"), "confirm_button")
    assert "left alone, alive or with a file in hand" in said(app)
    assert "node-2" in states(full)
    execute(full, "UPDATE {files} SET processing_status = 'queued' WHERE processing_server_id = 'node-2'")

    app = click(click(chosen(open_page, "node-2"), "forget"), "confirm_button")

    assert "Forgot 1 node" in said(app)
    assert "node-2" not in states(full)
    (event,) = full.run("events", file_id="", kind="forget", row_limit=10)
    assert event["server_id"] == "node-2"


def test_a_node_that_is_alive_is_never_forgotten(full: Database) -> None:
    assert queue.forget(full, ["node-1", "node-3", "no such node"], actor="ann") == ["node-3"]
    assert set(states(full)) == {"node-1", "node-2", "node-4"}


def test_the_shell_forgets_nodes_and_says_which_it_left_alone(
    full: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in full.settings.environ().items():
        monkeypatch.setenv(name, value)

    assert main(["forget", "node-3"]) == 0
    assert "forgotten: node-3" in capsys.readouterr().out
    assert main(["forget", "node-1"]) == 1
    assert "left alone" in capsys.readouterr().out


def test_each_node_shows_what_it_has_done_beside_the_fleet(open_page: Open, full: Database) -> None:
    execute(
        full,
        "INSERT INTO {events} (kind, outcome, next_status, server_id, reason) "
        "VALUES ('attempt', 'raised', 'queued', 'node-1', 'Traceback:' || chr(10) || 'ValueError: line 7 is bad')",
    )

    app = chosen(open_page)

    assert "in 1 h 1 done, 1 failed (50 %)" in said(app)
    assert "ValueError: line 7 is bad" in tables(app)
    work = next(row for row in stats.records(stats.node_work(full)) if row["server_id"] == "node-1")
    assert (work["completed"], work["failed"], work["bad_attempts"]) == (1, 1, 1)


def test_a_node_has_a_page_of_its_own(open_page: Open, full: Database) -> None:
    app = chosen(open_page, "node-1", page="node.py", parameter="id")

    assert app.subheader[0].value == "node\\-1"
    assert "75 %" in "".join(element.proto.text for element in app.get("progress"))
    assert "bad.csv" in tables(app)

    click(click(app, "pause"), "confirm_button")

    assert {row["scope"] for row in full.run("pauses")} >= {"node-1"}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["no-such-node", ""])
def test_an_address_that_leads_to_no_node_says_so(open_page: Open, full: Database, name: str) -> None:
    app = chosen(open_page, name, page="node.py", parameter="id")

    assert ("There is no node" if name else "The address names no node") in said(app)
