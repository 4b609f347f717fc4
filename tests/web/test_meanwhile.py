"""What others have done while a dialog was open is told as it is: who was first, and how many were left."""

from __future__ import annotations

import pytest

from opskit import doctor, queue
from opskit.database import Database
from opskit.queue import searching
from tests.support.dashboard import Open, choose, click, old_claim, said, status, tables
from tests.support.tables import boot, claim, files, put


def test_the_second_cleanup_of_a_claim_names_the_first(open_page: Open, db: Database) -> None:
    stale = old_claim(db, "stale.csv", 120)
    app = click(open_page(), "cleanup")
    queue.cleanup(db, actor="bob")

    click(app, "confirm_button")

    assert "0 ended, 0 pending a second look, 1 skipped" in said(app)
    assert "bob has ended it, at " in tables(app)
    assert [element.value for element in app.error if "0 ended" in element.value]
    assert status(db, stale) == "failed"


def test_an_earlier_end_of_the_same_file_is_not_taken_for_the_end_of_this_claim(open_page: Open, db: Database) -> None:
    (id,) = files(db, "again.csv")
    node = boot(db)
    queue.cancel(db, [id], actor="bob")
    queue.requeue(db, [id], actor="bob")
    claim(db, node)
    put(db, id, "processing_token = NULL, processing_epoch = NULL, processing_started_at = now() - interval '2 h'")
    app = click(open_page(), "cleanup")
    put(db, id, "processing_status = 'completed'")

    click(app, "confirm_button")

    assert "it has moved on by itself" in tables(app)
    assert "bob has ended it" not in tables(app)


def test_of_several_nodes_only_those_that_were_changed_are_counted(open_page: Open, db: Database) -> None:
    for name in ("node-a", "node-b", "node-c"):
        boot(db, name)
    app = open_page("nodes.py")
    choose(app, "node", "node-a", "node-b", "node-c")
    click(app, "pause")
    queue.pause(db, "node-b", actor="bob")

    click(app, "confirm_button")
    assert "Paused 2 nodes, 1 left as before" in said(app)

    click(app, "resume")
    for name in ("node-a", "node-b", "node-c"):
        queue.resume(db, name, actor="bob")
    click(app, "confirm_button")
    assert "Resumed 0 nodes, 3 left as before" in said(app)
    assert not app.success


def test_a_fleet_that_is_paused_by_name_is_resumed_by_the_one_button_that_mends_it(
    open_page: Open, db: Database
) -> None:
    files(db, "next.csv")
    for name in ("node-a", "node-b"):
        boot(db, name)
        queue.pause(db, name, actor="ann")
    (finding,) = [one for one in doctor.examine(db) if one.condition == "no-node-claims"]
    assert finding.concerns == ("node-a", "node-b")
    app = open_page()

    (button,) = [one for one in app.button if str(one.key).startswith("mend ")]
    assert button.label == "Resume 2…"
    click(click(app, str(button.key)), "confirm_button")

    assert "Resumed 2 nodes" in said(app)
    assert not db.run("pauses")


@pytest.mark.parametrize(
    ("text", "columns", "names"),
    [
        ("customer_id:1044 state:failed", (), ["customer_id"]),
        ("customer_id:1044 state:failed", ("customer_id",), []),
        ("a:1 b:2 a:3 node:x since:1h server:y", ("b",), ["a"]),
        ("12:30 invoice :x y:", (), []),
    ],
)
def test_a_search_knows_which_of_its_words_name_no_column(
    text: str, columns: tuple[str, ...], names: list[str]
) -> None:
    assert searching.not_understood(text, columns) == names


def test_a_search_that_finds_nothing_tells_which_column_it_may_not_look_into(open_page: Open, db: Database) -> None:
    files(db, "one.csv")
    app = open_page("files.py")

    app.text_input(key="search").set_value("customer_id:1044").run()

    assert "`customer_id:` was taken as a part of the name: OPSKIT_SHOW_COLUMNS names" in said(app)
