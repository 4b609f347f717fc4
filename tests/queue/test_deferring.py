"""Deferrals: a processor that wants to be called again later."""

from __future__ import annotations

import pytest

import opskit
from opskit.database import Database
from opskit.queue import claims
from opskit.queue.deferring import MOST_DEFERRALS, defer
from tests.support.nodes import ask
from tests.support.tables import attempts, boot, claimed, put, row


def deferred(db: Database, id: str, times: int, *, start: int = 0, **given: bool) -> list[str]:
    """Claim a file and defer it, so many times; what each was answered."""
    answers = []
    for number in range(start, start + times):
        put(db, id, "processing_queued_at = now() - interval '1 second'")
        answer = claims.claim_one(db, boot(db, f"node-{number}"), id)
        retry = opskit.Retry("the service is busy", after_seconds=90, **given)
        answers.append(defer(db, retry, id=id, token=answer.token, actor="test"))
    return answers


def test_a_deferred_file_is_due_when_its_processor_says_and_keeps_its_failures_and_its_error(db: Database) -> None:
    id, token = claimed(db)
    put(db, id, "processing_failures = 1, processing_errors = 'earlier'")

    answer = defer(db, opskit.Retry("busy", after_seconds=120), id=id, token=token, actor="node-a")

    found = row(db, id)
    assert (answer, found["processing_status"]) == ("queued", "queued")
    assert (found["processing_failures"], found["processing_errors"]) == (1, "earlier")
    assert (found["processing_token"], found["processing_server_id"]) == (None, None)
    (due,) = ask(db, f"SELECT extract(epoch FROM processing_queued_at - now())::float8 AS s FROM {db.settings.files}")
    assert 115 < due["s"] <= 120
    (event,) = attempts(db, id)
    assert (event["outcome"], event["next_status"], event["reason"]) == ("deferred", "queued", "busy")
    assert event["details"] == {"after_seconds": 120}


def test_a_file_that_is_deferred_for_ever_counts_from_the_twenty_first_time_on(db: Database) -> None:
    id, token = claimed(db)
    defer(db, opskit.Retry(), id=id, token=token, actor="test")

    free = deferred(db, id, MOST_DEFERRALS - 1)
    failures = row(db, id)["processing_failures"]
    counted = deferred(db, id, 3, start=50)

    assert (free, failures) == (["queued"] * (MOST_DEFERRALS - 1), 0)
    assert counted == ["queued", "queued", "failed"]
    assert "deferred 22 times before: this one counts as a failure" in row(db, id)["processing_errors"]


def test_a_requeue_gives_a_deferred_file_its_budget_back(db: Database) -> None:
    id, token = claimed(db)
    defer(db, opskit.Retry(), id=id, token=token, actor="test")
    deferred(db, id, MOST_DEFERRALS + 2)
    assert row(db, id)["processing_status"] == "failed"

    opskit.queue.requeue(db, [id], actor="test")

    assert deferred(db, id, MOST_DEFERRALS, start=50) == ["queued"] * MOST_DEFERRALS


def test_a_counted_deferral_spends_the_retry_budget(db: Database) -> None:
    id, token = claimed(db)
    defer(db, opskit.Retry(counted=True), id=id, token=token, actor="test")

    assert deferred(db, id, 2, counted=True) == ["queued", "failed"]
    assert row(db, id)["processing_failure"]["error"] == "Deferred"


def test_a_lost_claim_cannot_be_deferred(db: Database) -> None:
    id, _ = claimed(db)

    assert defer(db, opskit.Retry(), id=id, token=claims.new_token(), actor="test") == "lost"
    assert attempts(db, id) == []


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e9])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 30 days"):
        opskit.Retry(after_seconds=seconds)
