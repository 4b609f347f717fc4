"""What a claim takes where lanes are on: the rules of a claim, and those of the lanes, each at its edge."""

from __future__ import annotations

from typing import Any

import pytest

from opskit import migration
from opskit.database import Database
from opskit.queue import claims, lanes
from opskit.queue.lanes import Turn
from tests.queue.test_fences import HOWS, STRANGER, changed
from tests.support.nodes import ask
from tests.support.one_database import is_shared
from tests.support.tables import application, boot, files, put, row, run

pytestmark = pytest.mark.one_database

LANES = ("a", None)


@pytest.fixture(scope="module")
def one_database(one_database: Database) -> Database:
    """A table whose lanes are the values of a column."""
    return with_lanes(one_database)


@pytest.fixture
def laned(db: Database, request: pytest.FixtureRequest) -> Database:
    """That table, empty; a test of another module has one of its own."""
    return db if is_shared(request) else with_lanes(db)


def with_lanes(db: Database) -> Database:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN customer text")
    migration.set_lanes(db, "customer", actor="test")
    lanes.column(db)
    return db


def turn(*asked: str | None, after: str = "-infinity", alone: bool = False) -> Turn:
    return Turn(asked or LANES, (after,) * len(asked or LANES), alone)


def opened(db: Database, *, closed: bool = False, due: bool = True) -> None:
    with db.connection() as connection:
        run(
            connection,
            f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason, next_probe_at, probe_seconds, closed_at) "
            f"VALUES (' breaker', 'breaker', 'a', 'it broke', now() + interval '{-1 if due else 60} s', 1, "
            f"{'now()' if closed else 'NULL'})",
        )


# -- the claim ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("how", [*HOWS, "pause", "cursor", "well"])
def test_a_file_of_a_lane_is_claimed_that_is_due_by_a_node_that_is_well(
    laned: Database, how: str, lane: str | None
) -> None:
    (id,) = files(laned, "a", customer=lane)
    node = boot(laned)
    if how == "pause":
        ask(laned, f"INSERT INTO {laned.names['pauses']} (scope, actor, reason) VALUES ('*', %s, '')", "me")
    elif how not in ("cursor", "well"):
        node = changed(laned, node, how, id)

    answer = claims.claim(laned, node, turn=turn(lane, after="infinity" if how == "cursor" else "-infinity"))

    assert ((answer.row or {}).get("id"), answer.lane) == ((id, lane) if how == "well" else (None, None))
    assert (row(laned, id)["processing_token"] is None) is (how != "well")


@pytest.mark.parametrize("how", [*HOWS, "paused", "token", "done", "cursor", "well"])
@pytest.mark.parametrize(("lane", "alone"), [("a", False), (None, False), ("a", True)])
def test_the_next_file_of_a_lane_is_claimed_when_it_is_due_and_the_one_in_hand_was_completed(
    laned: Database, how: str, lane: str | None, alone: bool
) -> None:
    first, next_one = files(laned, "first", "next", customer=lane)
    node = boot(laned)
    token = claims.claim_one(laned, node, first).token
    if how == "token":
        token = STRANGER
    elif how == "done":
        claims.complete(laned, id=first, token=token)
    elif how not in ("cursor", "well"):
        node = changed(laned, node, how, next_one)

    found = claims.complete_and_claim(
        laned, node, id=first, done_token=token, result=None, after="-infinity", token=claims.new_token(),
        turn=turn(lane, after="infinity" if how == "cursor" else "-infinity", alone=alone),
    )  # fmt: skip

    assert (found is None) is (how != "well")
    assert (row(laned, next_one)["processing_token"] is None) is (how != "well")


@pytest.mark.parametrize("asked", [("a", "b"), ("b", "a"), (None, "a"), ("a", None)])
def test_the_lanes_are_asked_in_turn_and_no_other(laned: Database, asked: tuple[str | None, ...]) -> None:
    for lane in ("0", "b", None, "a", "c"):
        files(laned, str(lane), str(lane), customer=lane)
    node = boot(laned)
    held: claims.Answer | None = claims.claim(laned, node, turn=turn(*asked))
    seen = []
    while held is not None and held.row is not None:
        seen.append(held.lane)
        last = held
        held = claims.complete_and_claim(
            laned, node, id=held.row["id"], done_token=held.token, result=None, after="-infinity",
            token=claims.new_token(), turn=turn(*asked),
        )  # fmt: skip

    assert seen == [asked[0], asked[0], asked[1], asked[1]]
    assert last.row is not None
    claims.complete(laned, id=last.row["id"], token=last.token)
    assert claims.claim(laned, node, turn=turn(*asked)).outcome == "empty"


def test_a_lane_that_is_asked_alone_is_the_only_one_that_a_file_is_claimed_of(laned: Database) -> None:
    files(laned, "of b", customer="b")
    files(laned, "of none")
    (first,) = files(laned, "first", customer="a")
    node = boot(laned)
    token = claims.claim_one(laned, node, first).token

    found = claims.complete_and_claim(
        laned, node, id=first, done_token=token, result=None, after="-infinity", token=claims.new_token(),
        turn=turn("a", alone=True),
    )  # fmt: skip

    assert (found, row(laned, first)["processing_status"]) == (None, "processing")


@pytest.mark.parametrize(("lane", "alone"), [("a", False), (None, False), ("a", True)])
def test_within_a_lane_a_claim_takes_the_first_that_no_session_has_locked(
    laned: Database, lane: str | None, alone: bool
) -> None:
    late, locked, first, second = files(laned, "late", "locked", "first", "second", customer=lane)
    put(laned, late, "processing_queued_at = processing_queued_at + interval '1 minute'")
    node = boot(laned)
    given: dict[str, Any] = {"server_id": node.server_id, "boot": node.boot, "epoch": node.epoch}
    following_of = "complete_and_claim_of_lane" if alone else "complete_and_claim_in_turn"
    ask(
        laned, f"UPDATE {laned.settings.files} SET processing_queued_at = processing_queued_at - %s * interval '1 h'", 1
    )

    with application(laned.settings) as other, other.transaction():
        run(other, f"SELECT 1 FROM {laned.settings.files} WHERE id = {locked} FOR UPDATE")
        with laned.connection() as connection:
            connection.execute("SET lock_timeout = '300ms'")
            token = claims.new_token()
            (answer,) = laned.run_on(connection, "claim_in_turn", token=token, **given, **turn(lane).values)
            (following,) = laned.run_on(
                connection, following_of, id=answer["id"], done_token=token, result="null",
                token=claims.new_token(), **given, **turn(lane, alone=alone).values,
            )  # fmt: skip

    assert (str(answer["id"]), str(following["id"])) == (first, second)


# -- the breaker -------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [True, False])
def test_a_claim_of_a_lane_stands_still_while_the_breaker_is_open(laned: Database, closed: bool) -> None:
    files(laned, "a", customer="a")
    opened(laned, closed=closed, due=False)

    answer = claims.claim(laned, boot(laned), turn=turn("a"))

    assert (answer.outcome, answer.broken) == (("claimed", None) if closed else ("paused", "it broke"))


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("how", [*HOWS, "pause", "soon", "closed", "other", "before", "without", "well"])
def test_a_probe_of_a_lane_is_of_a_node_that_is_well_when_it_is_due(
    laned: Database, how: str, lane: str | None
) -> None:
    other = {"other": "other", "before": "0", "without": "other" if lane is None else None}
    (id,) = files(laned, "a", customer=other.get(how, lane))
    node = boot(laned)
    opened(laned, due=how != "soon", closed=how == "closed")
    if how == "pause":
        ask(laned, f"INSERT INTO {laned.names['pauses']} (scope, actor, reason) VALUES ('*', %s, '')", "me")
    elif how in HOWS:
        node = changed(laned, node, how, id)

    answer = laned.one(
        "breaker_probe_in_turn", server_id=node.server_id, boot=node.boot, epoch=node.epoch, token=claims.new_token(),
        **turn(lane).values,
    )  # fmt: skip

    assert (answer["outcome"] == "claimed", answer["id"]) == ((True, id) if how == "well" else (False, None))
    (record,) = ask(laned, f"SELECT probe_seconds AS s FROM {laned.names['pauses']} WHERE scope = %s", " breaker")
    assert record["s"] == (2 if how == "well" else 1)


# -- which lanes are due -----------------------------------------------------------------------


def test_the_lanes_are_found_that_have_queued_files_and_when_the_first_is_due(laned: Database) -> None:
    for lane in ("a", "b", "deleted", "ended", None):
        (id,) = files(laned, str(lane), customer=lane)
        if lane == "deleted":
            put(laned, id, "deleted = true")
        elif lane == "ended":
            put(laned, id, "processing_status = 'failed'")
        elif lane == "b":
            put(laned, id, "processing_queued_at = now() + interval '100 seconds'")
    files(laned, "later", customer="a", processing_queued_at="2100-01-01")
    (gone,) = files(laned, "gone", customer=None, processing_queued_at="2020-01-01")
    put(laned, gone, "deleted = true")

    def found(**given: Any) -> dict[str | None, bool]:
        values = {"row_limit": 10, "beyond": "{}"}
        return {one["lane"]: one["due_seconds"] <= 0 for one in laned.run("due_lanes", **{**values, **given})}

    assert found() == {"a": True, "b": False, None: True}
    assert found(beyond="{b}") == {"b": False, None: True}
    assert found(row_limit=1) == {"a": True, None: True}
    (none,) = [one for one in laned.run("due_lanes", row_limit=10, beyond="{}") if one["lane"] is None]
    assert none["due_seconds"] > -1000
