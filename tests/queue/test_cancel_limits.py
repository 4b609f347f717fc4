"""What a cancel takes, and what it says of each file; what an undo counts."""

from __future__ import annotations

from typing import Any

import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from opskit.queue.cancelling import preview_cancel
from tests.support.tables import boot, claim, claimed, files, put, put_node, row


def statuses(db: Database, ids: list[str]) -> list[str]:
    return [row(db, id)["processing_status"] for id in ids]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "say which files"),
        ({"ids": ["1"], "every": True}, "say which files"),
        ({"every": True, "status": "failed"}, "the state is 'failed'"),
    ],
)
def test_a_cancel_of_neither_or_both_or_of_what_has_ended_is_refused(
    db: Database, how: dict[str, Any], said: str
) -> None:
    (id,) = files(db, "a")

    with pytest.raises(SettingError, match=said):
        queue.cancel(db, **how)
    assert statuses(db, [id]) == ["queued"]


def test_a_file_that_is_named_twice_is_told_once_and_one_that_is_gone_is_skipped_once(db: Database) -> None:
    (id,) = files(db, "a")

    done = queue.cancel(db, [id, "999999", id, "999999"])

    assert [one["id"] for one in done.ended] == [id]
    assert done.skipped == ["999999"]


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_cancel_ends_no_more_files_than_it_may(db: Database, limit: int) -> None:
    ids = files(db, "a", "b", "c")

    assert len(queue.cancel(db, ids, limit=limit).ended) == limit
    assert statuses(db, ids).count("failed") == limit

    left = 3 - limit
    assert len(queue.cancel(db, every=True, limit=limit).ended) == min(limit, left)
    assert statuses(db, ids).count("failed") == limit + min(limit, left)


def test_a_claim_whose_row_its_processor_has_locked_is_asked_for_and_one_without_its_node_is_kept(db: Database) -> None:
    id, token = claimed(db)
    with Database(db.settings, pooled=False) as own, claims.completing(own, id=id, token=token):
        asked = queue.cancel(db, [id])
        put_node(db, "node-a", "server_id = 'node-z'")
        kept = queue.cancel(db, [id])

    assert ([one["id"] for one in asked.asked], asked.kept) == ([id], [])
    assert ([one["id"] for one in kept.kept], kept.asked) == ([id], [])


def test_an_undo_counts_only_what_its_act_has_failed(db: Database) -> None:
    stale, orphan = files(db, "a", "b")
    for name in ("node-a", "node-b"):
        claim(db, boot(db, name))
    put(db, stale, "processing_server_id = 'gone', processing_started_at = now() - interval '2 h'")
    put_node(db, "node-b", "boot = gen_random_uuid(), epoch = epoch + 5, first_epoch = epoch + 5")
    queue.cleanup(db, actor="ann")
    assert statuses(db, [stale, orphan]) == ["failed", "queued"]

    (act,) = [int(one["act"]) for one in stats.records(stats.acts(db)) if one["kind"] == "cleanup"]
    done = queue.undo(db, act)

    assert (len(done.files), done.kept) == (1, 0)


def test_a_cancel_of_all_files_ends_those_that_wait_for_a_later_time_too(db: Database) -> None:
    due, retried, deferred = files(db, "due", "retried", "deferred")
    put(db, retried, "processing_queued_at = now() + interval '30 seconds'")
    put(db, deferred, "processing_queued_at = now() + interval '1 day'")
    previewed = {one["id"] for one in preview_cancel(db, every=True)}

    done = queue.cancel(db, every=True, actor="ann")

    assert {one["id"] for one in done.ended} == previewed == {due, retried, deferred}
