"""The cards of the cleanup page: light, and a server's name in them is shown as it is."""

from __future__ import annotations

from opskit.database import Database
from tests.support.dashboard import Open, execute, old_claim, said


def test_a_card_of_a_claim_is_a_box_its_tick_and_one_piece_of_html(open_page: Open, db: Database) -> None:
    old_claim(db, "one.csv", 120)
    one = open_page("cleanup.py")
    before = len(list(one.main))
    for number in range(10):
        old_claim(db, f"{number}.csv", 120)

    more = open_page("cleanup.py")

    # Beside the cards come the buttons that tick all and none.
    assert len(list(more.main)) - before <= 10 * 3 + 2


def test_a_servers_name_is_shown_in_a_card_as_it_is(open_page: Open, db: Database) -> None:
    claim = old_claim(db, "one.csv", 120)
    execute(db, "UPDATE {files} SET processing_server_id = '<img src=x> & **b**' WHERE id::text = %s", claim)

    words = said(open_page("cleanup.py"))

    assert "<b>Nobody knows &lt;img src=x&gt; &amp; **b**</b>, and it has held the file for 2 h" in words
    assert "<img" not in words
