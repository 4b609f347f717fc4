"""One file by hand, beside nodes that claim on schedule: once processed, and the loser says who has it."""

from __future__ import annotations

import threading

import pytest

from opskit.database import Database
from opskit.errors import NotClaimableError
from opskit.queue import claims
from opskit.queue.server_id import Boot
from tests.support.nodes import add_files, record, violations
from tests.support.tables import boot


def race(db: Database, file: str, hand: Boot, scheduled: list[Boot]) -> tuple[list[str], list[str]]:
    """All ask at the same moment; answers who won, and what the hand was told if it lost."""
    line = threading.Barrier(1 + len(scheduled))
    winners: list[str] = []
    told: list[str] = []

    def by_hand() -> None:
        line.wait()
        try:
            answer = claims.claim_one(db, hand, file)
        except NotClaimableError as error:
            told.append(str(error))
        else:
            winners.append(hand.server_id)
            claims.complete(db, id=file, token=answer.token)

    def on_schedule(node: Boot) -> None:
        line.wait()
        answer = claims.claim(db, node)
        if answer.outcome == "claimed":
            winners.append(node.server_id)
            claims.complete(db, id=file, token=answer.token)

    threads = [threading.Thread(target=by_hand)]
    threads += [threading.Thread(target=on_schedule, args=(node,)) for node in scheduled]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return winners, told


def test_a_hundred_races_between_a_hand_and_two_nodes_have_one_winner_each_and_the_loser_says_who(db: Database) -> None:
    record(db)
    hand, scheduled = boot(db, "hand"), [boot(db, "node-a"), boot(db, "node-b")]
    won: list[str] = []
    told: list[str] = []

    for n in range(100):
        (file,) = add_files(db, f"file-{n}")
        winners, sentences = race(db, file, hand, scheduled)
        assert len(winners) == 1
        assert db.one("file", id=file)["processing_server_id"] == winners[0]
        won += winners
        told += sentences

    assert violations(db) == []
    assert len(told) == 100 - won.count("hand") > 0
    assert all(
        "is being processed by node-" in sentence or "was completed by node-" in sentence for sentence in told
    ), set(told)


def test_a_hand_says_why_it_cannot_have_a_file(db: Database) -> None:
    hand, other = boot(db, "hand"), boot(db, "other")
    (file,) = add_files(db, "a")

    def why(id: str) -> str:
        with pytest.raises(NotClaimableError) as caught:
            claims.claim_one(db, other, id)
        return str(caught.value)

    answer = claims.claim_one(db, hand, file)
    held = why(file)
    claims.complete(db, id=file, token=answer.token)
    ended = why(file)

    assert held.startswith(f"file {file} is being processed by hand since ")
    assert ended.startswith(f"file {file} was completed by hand at ")
    assert f"opskit requeue {file}" in ended
    assert why("999999") == f"there is no file '999999' in {db.settings.files}"
    assert "the table's ids look different" in why("not a number")
