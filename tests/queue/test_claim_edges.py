"""What a claim and the end of an attempt go by, where another node, file or event looks like the own one."""

from __future__ import annotations

import dataclasses

import pytest

from opskit.database import Database
from opskit.errors import NotClaimableError
from opskit.queue import claims
from opskit.queue.server_id import Boot
from tests.queue.test_fences import ended
from tests.queue.test_lane_rules import laned, opened, turn
from tests.support.nodes import ask
from tests.support.tables import boot, claimed, files, put, put_node, row

__all__ = ["laned"]
# The lanes that are asked, if any.
TURNS = {"whole queue": None, "in turn": turn(None), "of lane": turn("a", alone=True)}


def twin(db: Database, node: Boot) -> None:
    """Another node with the boot and the epoch of this one."""
    boot(db, "node-b")
    put_node(db, "node-b", f"boot = '{node.boot}', epoch = {node.epoch}, state = 'draining'")


def gone(db: Database, server_id: str) -> None:
    ask(db, f"DELETE FROM {db.names['nodes']} WHERE server_id = %s", server_id)


def following(db: Database, node: Boot, how: str, id: str, token: str) -> claims.Answer | None:
    return claims.complete_and_claim(
        db, node, id=id, done_token=token, result=None, after="-infinity", token=claims.new_token(), turn=TURNS[how]
    )


@pytest.mark.parametrize("lanes", [False, True])
def test_a_node_claims_by_its_own_row_where_another_has_its_boot(laned: Database, lanes: bool) -> None:
    (id,) = files(laned, "a")
    node = boot(laned)
    twin(laned, node)

    answer = claims.claim(laned, node, turn=turn(None) if lanes else None)

    assert answer.row is not None
    assert (answer.row["id"], row(laned, id)["processing_server_id"]) == (id, "node-a")


def test_a_node_whose_row_is_gone_claims_nothing_by_hand_by_that_of_another(db: Database) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    twin(db, node)
    gone(db, "node-a")

    assert claims.claim_one(db, node, id).outcome == "deposed"
    assert row(db, id)["processing_status"] == "queued"


@pytest.mark.parametrize("how", TURNS)
def test_a_node_whose_row_is_gone_claims_no_next_file_by_that_of_another(laned: Database, how: str) -> None:
    first, following_one = files(laned, "first", "next", customer="a" if how == "of lane" else None)
    node = boot(laned)
    token = claims.claim_one(laned, node, first).token
    twin(laned, node)
    put_node(laned, "node-b", "state = 'active', paused = false")
    gone(laned, "node-a")

    assert following(laned, node, how, first, token) is None
    assert row(laned, following_one)["processing_status"] == "queued"


@pytest.mark.parametrize("how", TURNS)
def test_the_file_in_hand_is_completed_and_no_other_claim_that_has_its_token(laned: Database, how: str) -> None:
    lane = "a" if how == "of lane" else None
    first, second, third = files(laned, "first", "second", "third", customer=lane)
    node, other = boot(laned), boot(laned, "node-b")
    token = claims.claim_one(laned, node, first).token
    claims.claim_one(laned, other, second)
    put(laned, second, f"processing_token = '{token}'")

    answer = following(laned, node, how, first, token)

    assert answer is not None
    assert answer.row is not None
    assert (str(answer.row["id"]), row(laned, second)["processing_status"]) == (third, "processing")


@pytest.mark.parametrize("how", TURNS)
def test_the_file_in_hand_is_not_completed_where_no_other_follows(laned: Database, how: str) -> None:
    (first,) = files(laned, "first", customer="a" if how == "of lane" else None)
    node = boot(laned)
    token = claims.claim_one(laned, node, first).token

    assert following(laned, node, how, first, token) is None
    assert row(laned, first)["processing_status"] == "processing"


def test_a_completion_has_one_answer_where_another_file_was_completed(db: Database) -> None:
    (other, second), (id, token) = claimed(db, "node-b"), claimed(db)
    claims.complete(db, id=other, token=second)

    found = [db.run("complete", id=id, token=token, result="null") for _ in range(2)]

    assert [[one["answer"] for one in answers] for answers in found] == [["done"], ["already"]]


@pytest.mark.parametrize("lanes", [False, True])
def test_an_open_breaker_says_when_its_next_probe_is_due(laned: Database, lanes: bool) -> None:
    files(laned, "a")
    opened(laned, due=False)

    answer = claims.claim(laned, boot(laned), turn=turn(None) if lanes else None)

    assert (answer.outcome, answer.broken) == ("paused", "it broke")
    assert 50 < (answer.next_seconds or 0) <= 60


def test_the_pause_of_another_node_is_no_open_breaker_where_lanes_are_asked(laned: Database) -> None:
    (id,) = files(laned, "a")
    boot(laned, "node-b")
    ask(laned, f"INSERT INTO {laned.names['pauses']} (scope, actor, reason) VALUES ('node-b', %s, 'disk')", "me")

    answer = claims.claim(laned, boot(laned), turn=turn(None))

    assert (answer.outcome, (answer.row or {}).get("id")) == ("claimed", id)


def test_a_claim_by_hand_says_whether_it_has_the_file_or_the_node_is_deposed(db: Database) -> None:
    id, other = files(db, "a", "b")
    node = boot(db)

    assert claims.claim_one(db, dataclasses.replace(node, epoch=node.epoch - 1), id).outcome == "deposed"
    answer = claims.claim_one(db, node, id)
    assert answer.row is not None
    assert (answer.outcome, answer.row["id"]) == ("claimed", id)
    assert row(db, other)["processing_status"] == "queued"
    with pytest.raises(NotClaimableError, match="is being processed by node-a"):
        claims.claim_one(db, node, id)


@pytest.mark.parametrize("name", ["defer", "interrupt"])
def test_what_was_given_back_of_another_file_does_not_count(db: Database, name: str) -> None:
    other, second = claimed(db, "node-b")
    assert ended(db, name, other, second, most=1) == "queued"
    id, token = claimed(db)

    assert ended(db, name, id, token, most=1, max_failures=1) == "queued"
