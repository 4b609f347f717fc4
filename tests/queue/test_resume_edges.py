"""What a pause and a resume say of the scope that is named, and which nodes, pauses and breaker they touch."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.database import Database
from tests.support.nodes import ask
from tests.support.tables import boot, put_node


def said(db: Database, name: str, scope: str) -> dict[str, Any]:
    return dict(db.one(name, scope=scope, actor="me", reason="disk"))


def pauses(db: Database, *scopes: str, kind: str = "pause", closed: bool = False) -> None:
    for scope in scopes:
        columns = "scope, kind, actor, reason, closed_at"
        ask(
            db,
            f"INSERT INTO {db.names['pauses']} ({columns}) VALUES (%s, '{kind}', 'a', 'it broke', "
            f"{'now()' if closed else 'NULL'})",
            scope,
        )


def events(db: Database) -> list[tuple[str, str]]:
    found = ask(db, f"SELECT kind, server_id FROM {db.names['events']} WHERE actor = %s ORDER BY id", "me")
    return [(one["kind"], one["server_id"]) for one in found]


def node(db: Database, server_id: str) -> dict[str, Any]:
    return dict(ask(db, f"SELECT * FROM {db.names['nodes']} WHERE server_id = %s", server_id)[0])


def sick(db: Database, *server_ids: str) -> None:
    for server_id in server_ids:
        boot(db, server_id)
        put_node(db, server_id, "state = 'quarantined', probe_at = now(), probe_seconds = 60, streak_at = now()")


REFUSED = "there is no node 'typo'"


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_a_scope_is_known_that_is_all_or_a_node_or_is_paused(db: Database, name: str) -> None:
    assert said(db, name, "*")["refused"] is None
    assert said(db, name, "typo")["refused"] == REFUSED
    boot(db, "node-a")
    pauses(db, "gone")

    assert said(db, name, "typo")["refused"] == REFUSED
    assert said(db, name, "gone")["refused"] is None
    assert said(db, name, "node-a")["refused"] is None
    assert ("pause", "typo") not in events(db)


def test_a_pause_of_all_is_no_breaker_that_a_resume_closes(db: Database) -> None:
    pauses(db, "*")

    answer = said(db, "resume", "*")

    assert (answer["changed"], answer["unpaused"], answer["closed"]) == (True, True, False)
    assert events(db) == [("resume", "*")]


def test_a_resume_of_all_where_only_the_breaker_is_open_changes_something(db: Database) -> None:
    pauses(db, " breaker", kind="breaker")

    answer = said(db, "resume", "*")

    assert (answer["changed"], answer["unpaused"], answer["closed"]) == (True, False, True)
    assert events(db) == [("breaker", "*")]
    assert said(db, "resume", "*")["changed"] is False


def test_a_node_that_is_resumed_begins_again_and_the_others_stay_as_they_are(db: Database) -> None:
    sick(db, "node-a", "node-b")
    before = node(db, "node-b")

    answer = said(db, "resume", "node-a")

    now = node(db, "node-a")
    assert (answer["cured"], answer["changed"], events(db)) == (["node-a"], True, [("resume", "node-a")])
    assert (now["state"], now["probe_at"], now["probe_seconds"], now["streak_at"]) == ("active", None, 15, None)
    assert now["cleared_at"] is not None
    assert node(db, "node-b") == before


def test_a_node_that_was_not_in_quarantine_is_neither_cured_nor_forgiven(db: Database) -> None:
    boot(db, "node-a")
    put_node(db, "node-a", "streak_at = now(), probe_seconds = 60, state = 'draining'")
    pauses(db, "node-a")

    answer = said(db, "resume", "node-a")

    now = node(db, "node-a")
    assert (answer["cured"], answer["unpaused"], events(db)) == ([], True, [("resume", "node-a")])
    assert (now["state"], now["probe_seconds"], now["cleared_at"]) == ("draining", 60, None)
    assert now["streak_at"] is not None
    assert said(db, "resume", "node-a")["changed"] is False


def test_what_still_holds_is_told_after_all_the_nodes_and_after_a_node_all(db: Database) -> None:
    for name in ("node-a", "node-b"):
        boot(db, name)
    pauses(db, "*", "node-a", "node-b")
    pauses(db, " breaker", kind="breaker", closed=True)

    assert said(db, "resume", "node-a")["held"] == ["*"]
    assert said(db, "resume", "*")["held"] == ["node-b"]
    pauses(db, " breaker", kind="breaker", closed=True)
    assert said(db, "resume", "node-a")["held"] == []
    assert said(db, "resume", "node-b")["held"] == []


def test_a_pause_that_is_there_already_changes_nothing(db: Database) -> None:
    boot(db, "node-a"), boot(db, "node-b")

    answer = said(db, "pause", "node-a")

    assert (answer["changed"], said(db, "pause", "node-a")["changed"]) == (True, False)
    assert (node(db, "node-a")["paused"], node(db, "node-b")["paused"]) == (True, False)
