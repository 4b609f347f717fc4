"""The child's claim loop, held still at the moments where a file could be lost, doubled or robbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.files.claimed import ClaimedFile
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus
from tests.support.nodes import counts
from tests.support.tables import attempts, boot, files, put_node, row

Begin = Callable[..., Child]


@pytest.fixture
def begin(db: Database) -> Iterator[Begin]:
    """A child of this process's own, under a new boot, over one connection as every child.

    A pool would hand out another connection each time as soon as its second one is there: to listen begins anew then.
    """
    shared_status = SharedStatus()
    with Database(db.settings, pooled=False) as own:

        def start(processor: Callable[[ClaimedFile], Any] = lambda file: None, node: Boot | None = None) -> Child:
            return Child(own, shared_status, node or boot(db), processor)

        yield start
    shared_status.close()


def test_a_file_that_comes_back_after_an_earlier_completion_is_processed_and_completed_again(
    db: Database, begin: Begin
) -> None:
    """The processor completes within its own transaction, and raises afterwards; then the file is requeued."""
    (id,) = files(db, "a")
    seen: list[int] = []

    def processor(file: ClaimedFile) -> None:
        seen.append(file.attempt)
        if len(seen) == 1:
            with file.completing():
                pass
            raise ValueError("after the completion")

    child = begin(processor)
    child.run(drain=True)
    first = row(db, id)["processing_status"]
    queue.requeue(db, [id], actor="test", reason="again")
    child.run(drain=True)

    assert first == "completed"
    assert seen == [1, 2]
    assert row(db, id)["processing_status"] == "completed"
    assert attempts(db, id) == []


def test_a_child_that_thaws_after_another_boot_took_its_id_does_not_give_up_that_boots_file(
    db: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was frozen just after it had raised its epoch, and before it looked at what it holds."""
    files(db, "a")
    child = begin()
    advance = nodes.advance

    def advance_and_freeze(db: Database, node: Boot) -> int | None:
        epoch = advance(db, node)
        put_node(db, "node-a", "lease_until = now() - interval '1 second'")
        assert claims.claim(db, boot(db)).outcome == "claimed"
        return epoch

    monkeypatch.setattr(nodes, "advance", advance_and_freeze)
    answer = child._claimer.look_up(claims.new_token())

    assert answer.outcome == "empty"
    assert counts(db) == {"processing": 1}


@pytest.mark.parametrize("why", ["paused", "locked"])
def test_a_child_that_may_not_have_what_is_due_does_not_ask_all_the_time(
    db: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Paused, or the file at the head of the queue is locked by somebody for long."""
    (id,) = files(db, "a")
    child = begin()
    limits: list[float] = []
    select = SimpleNamespace(select=lambda _, __, ___, limit: limits.append(limit) or ([], [], []))
    monkeypatch.setattr("opskit.worker.listener.select", select)
    if why == "paused":
        queue.pause(db, actor="test")

    with Database(db.settings, pooled=False) as other, other.connection() as connection, connection.transaction():
        if why == "locked":
            connection.execute(f"SELECT FROM {db.settings.files} WHERE id = {id} FOR UPDATE".encode())
        for _ in range(12):
            answer = child._claimer.claim()
            assert answer.outcome == ("paused" if why == "paused" else "empty")
            child._wake.wait(answer.next_seconds if answer.outcome == "empty" else None)

    # A notification of somebody else may come any time; it costs one short wait.
    assert max(limits[-2:]) >= 0.5 * db.settings.poll_seconds
    assert sum(limits) > 3 * db.settings.poll_seconds
