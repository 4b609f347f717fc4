"""Suggestions of a search, and a node beside its fleet."""

from __future__ import annotations

import pytest

from opskit.database import Database
from opskit.web.dashboard import suggestions
from tests.support.dashboard import Open, choose, execute, fine, said, tables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["state:", "node:", "since:", "customer_id:"]),
        ("sta", ["state:"]),
        ("state:f", ["state:failed"]),
        ("state:failed", []),
        ("state:failed ", ["node:", "since:", "customer_id:"]),
        ("invoice", ["state:", "node:", "since:", "customer_id:"]),
        ("node:node-2", ["node:node-20"]),
        ("since:", ["since:1h", "since:24h", "since:7d"]),
        ("12:30", ["state:", "node:", "since:", "customer_id:"]),
    ],
)
def test_a_search_offers_what_may_follow(text: str, words: list[str]) -> None:
    assert suggestions.offered(text, ["node-1", "node-2", "node-20", "an odd name"], ["customer_id"]) == words


def test_a_suggestion_finishes_what_is_begun() -> None:
    assert suggestions.added("invoice sta", "state:") == "invoice state:"
    assert suggestions.added("invoice", "state:") == "invoice state:"
    assert suggestions.added("state:f", "state:failed") == "state:failed"
    assert suggestions.added("state:failed ", "node:") == "state:failed node:"


def test_a_pressed_suggestion_narrows_the_files(open_page: Open, full: Database) -> None:
    app = open_page("files.py")

    app.pills(key="suggested").set_value("state:").run()
    app.pills(key="suggested").set_value("state:failed").run()

    assert fine(app)
    assert app.text_input(key="search").value == "state:failed"
    assert "worse.csv" in tables(app)
    assert "next.csv" not in tables(app)


def test_a_node_stands_beside_the_mean_of_its_fleet(open_page: Open, full: Database) -> None:
    execute(
        full,
        "INSERT INTO {files} (original_filename, processing_status, processing_server_id, processing_completed_at) "
        "SELECT 'f', 'completed', 'node-2', now() FROM generate_series(1, 9)",
    )
    app = open_page("node.py")
    choose(app, "id", "node-1")

    assert "in 1 h 1 done, 1 failed; the fleet's mean 5 done, 0.5 failed a node" in said(app)
