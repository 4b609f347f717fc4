"""The list of files is narrowed to a lane, where the table has lanes."""

from __future__ import annotations

from opskit.database import Database
from tests.queue.test_lanes import laned, queued
from tests.support.dashboard import Open, fine, tables


def test_the_list_of_files_is_narrowed_to_a_lane_by_choice_and_by_address(open_page: Open, db: Database) -> None:
    laned(db)
    for lane in ("north", "south", None):
        queued(db, lane, 2)
    app = open_page("files.py")

    box = app.selectbox(key="lane")
    assert {"", "north", "south", "(none)"} == {"" if option == "all lanes" else option for option in box.options}
    box.set_value("north").run()
    assert fine(app)
    assert "north-0" in tables(app)
    assert "south-0" not in tables(app)
    app.selectbox(key="lane").set_value("(none)").run()
    assert "None-0" in tables(app)
    assert "north-0" not in tables(app)


def test_a_table_without_lanes_has_no_such_choice(open_page: Open, db: Database) -> None:
    assert not [box for box in open_page("files.py").selectbox if box.key == "lane"]
