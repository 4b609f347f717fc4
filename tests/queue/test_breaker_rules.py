"""What opens and closes the breaker, who may probe, and what is given back: each rule at its edge."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest

from opskit.database import Database
from opskit.queue import claims
from opskit.queue.server_id import Boot
from tests.support.tables import application, boot, files, put, put_node, row, run

SINCE = "2020-01-01T00:00:00Z"
IDENTITY = {"error": "it broke", "place": "a.py", "kind": "world"}


def sql(db: Database, text: str) -> list[dict[str, Any]]:
    with application(db.settings) as own:
        return run(own, text)


def opened(db: Database, *, due: bool = True, closed: bool = False) -> None:
    """The breaker is open for an hour, and its probe due."""
    sql(
        db,
        f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason, at, next_probe_at, probe_seconds, closed_at) "
        f"VALUES (' breaker', 'breaker', 'a', 'it broke', now() - interval '1 hour', "
        f"now() + interval '{-1 if due else 60} seconds', 1, {'now()' if closed else 'NULL'})",
    )


def failed(db: Database, node: Boot, *, most: int = 1, **identity: str) -> str:
    """A file that failed on a node, with an identity of the world."""
    (id,) = files(db, "a")
    answer = claims.claim_one(db, node, id)
    given = {
        "outcome": "raised", "error": "it broke", "max_failures": most, "retry_seconds": 0, "wait_seconds": "",
        "actor": "test", "identity": json.dumps(IDENTITY | identity),
    }  # fmt: skip
    db.one("fail", id=id, token=answer.token, **given)
    return id


def open_breaker(db: Database, ids: list[str], since: str = SINCE) -> dict[str, Any]:
    return dict(
        db.one("breaker_open", error="it broke", place="a.py", ids=ids, since=since, server_id="a", reason="it broke")
    )


# -- opening -----------------------------------------------------------------------------------------


def test_only_failures_of_the_error_that_opens_it_are_given_back(db: Database) -> None:
    node = boot(db)
    ours = failed(db, node, most=3)
    others = [failed(db, node, most=3, **other) for other in ({"error": "x"}, {"place": "b.py"}, {"kind": "file"})]
    unnamed = failed(db, node, most=3)

    assert open_breaker(db, [ours, *others])["opened"]
    assert [row(db, id)["processing_failures"] for id in (ours, *others, unnamed)] == [0, 1, 1, 1, 1]


def test_a_file_that_failed_for_another_reason_since_stays_failed(db: Database) -> None:
    node = boot(db)
    id = failed(db, node, most=3)
    answer = claims.claim_one(db, node, id)
    claims.fail(
        db, id=id, token=answer.token, outcome="rejected", error="bad", max_failures=3, retry_seconds=0, actor="test"
    )

    open_breaker(db, [id])

    assert row(db, id)["processing_status"] == "failed"


def test_a_completion_since_then_keeps_it_closed_and_gives_nothing_back(db: Database) -> None:
    node = boot(db)
    id = failed(db, node, most=3)
    (good,) = files(db, "good")
    answer = claims.claim_one(db, node, good)
    claims.complete(db, id=good, token=answer.token)

    assert not open_breaker(db, [id])["opened"]
    assert row(db, id)["processing_failures"] == 1
    assert sql(db, f"SELECT paused FROM {db.names['nodes']}") == [{"paused": False}]


def test_it_opens_once_and_names_only_what_was_requeued(db: Database) -> None:
    node = boot(db)
    ids = [failed(db, node, most=3), failed(db, node, most=1)]

    assert (open_breaker(db, ids), open_breaker(db, ids)["opened"]) == (
        {"opened": True, "files": 2, "requeued": 1}, False,
    )  # fmt: skip
    events = sql(db, f"SELECT file_id FROM {db.names['events']} WHERE kind = 'requeue'")
    assert events == [{"file_id": ids[1]}]


# -- giving back ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "attempt", "given", "none"])
def test_a_failure_is_given_back_once_while_it_is_open(db: Database, how: str) -> None:
    node = boot(db)
    id, other = failed(db, node, most=3), failed(db, node, most=3)
    if how != "none":
        opened(db, closed=how == "closed")
    if how == "given":
        assert len(db.run("breaker_give_back", id=id, attempt=1, actor="a")) == 1

    assert db.run("breaker_give_back", id=id, attempt=2 if how == "attempt" else 1, actor="a") == []
    assert row(db, other)["processing_failures"] == 1


@pytest.mark.parametrize(("most", "requeued"), [(1, 1), (3, 0)])
def test_a_failure_that_is_given_back_is_told_as_a_requeue_when_the_file_had_failed(
    db: Database, most: int, requeued: int
) -> None:
    id = failed(db, boot(db), most=most)
    opened(db)

    assert len(db.run("breaker_give_back", id=id, attempt=1, actor="a")) == 1
    assert (row(db, id)["processing_status"], row(db, id)["processing_failures"]) == ("queued", 0)
    assert len(sql(db, f"SELECT 1 FROM {db.names['events']} WHERE kind = 'requeue'")) == requeued


# -- closing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignments", "closes"),
    [
        ("processing_started_at = now() - interval '2 hours'", False),
        ("processing_completed_at = now() - interval '2 hours'", False),
        ("processing_status = 'failed'", False),
        ("file_size = 1", True),
    ],
)
def test_a_completion_of_a_file_that_was_claimed_while_it_is_open_closes_it(
    db: Database, assignments: str, closes: bool
) -> None:
    node = boot(db)
    (id,) = files(db, "a")
    answer = claims.claim_one(db, node, id)
    claims.complete(db, id=id, token=answer.token)
    put(db, id, assignments)
    opened(db)

    assert len(db.run("breaker_close", server_id="node-a")) == closes
    assert db.run("breaker_close", server_id="node-a") == []


# -- probing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["boot", "epoch", "state", "lease", "pause", "soon", "closed", "none", "later", "well"])
def test_a_probe_is_of_a_node_that_is_well_when_it_is_due(db: Database, how: str) -> None:
    node = boot(db)
    ids = files(db, "a") if how != "none" else []
    opened(db, due=how != "soon", closed=how == "closed")
    changes = {"state": "state = 'draining'", "lease": "lease_until = now() - interval '1 second'"}
    if how in changes:
        put_node(db, "node-a", changes[how])
    elif how == "pause":
        sql(db, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('*', 'me', '')")
    elif how == "later":
        put(db, ids[0], "processing_queued_at = now() + interval '1 hour'")
    elif how == "boot":
        node = dataclasses.replace(node, boot=str(uuid.UUID(int=7)))
    elif how == "epoch":
        node = dataclasses.replace(node, epoch=node.epoch - 1)
    given = {"server_id": "node-a", "boot": node.boot, "epoch": node.epoch, "token": claims.new_token()}

    answer = db.one("breaker_probe", **given)

    assert (answer["outcome"] == "claimed") is (how == "well")
    assert (answer["id"] is None) is (how != "well")
    (record,) = sql(db, f"SELECT probe_seconds AS s FROM {db.names['pauses']} WHERE kind = 'breaker'")
    assert record["s"] == (2 if how == "well" else 1)


def test_a_probe_is_a_file_that_was_not_tried(db: Database) -> None:
    node = boot(db)
    tried = [failed(db, node, most=9) for _ in range(8)]
    (fresh,) = files(db, "fresh")
    opened(db)
    given = {"server_id": "node-a", "boot": node.boot, "epoch": node.epoch, "token": claims.new_token()}

    assert db.one("breaker_probe", **given)["id"] == fresh
    assert fresh not in tried
