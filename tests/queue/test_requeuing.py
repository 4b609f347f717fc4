"""Files that are tried again: by their budget, by release, and by requeue; and rows adopted from before."""

from __future__ import annotations

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import OpskitError
from opskit.queue import adopting, claims, requeuing
from opskit.support.progress import Progress
from tests.support.promises import events
from tests.support.tables import application, attempts, boot, claim, claimed, fail, files, put, row, rows, run

# -- failing ---------------------------------------------------------------------------------


def test_the_back_off_doubles_up_to_an_hour_and_the_attempt_never_falls(db: Database) -> None:
    (id,) = files(db, "a")
    node = boot(db, lease_seconds=600.0)
    waits, seen = [], []
    for _ in range(12):
        answer = claims.claim_one(db, node, id)
        fail(db, id, answer.token, max_failures=12, retry_seconds=10.0)
        with db.connection() as connection:
            wait = "round(extract(epoch FROM processing_queued_at - clock_timestamp()))::int AS wait"
            (found,) = rows(
                connection, db.settings.files, f"{wait}, processing_status AS status, processing_attempt AS n"
            )
        waits.append(found["wait"] if found["status"] == "queued" else None)
        seen.append(found["n"])

    assert waits[:-1] == [pytest.approx(min(3600, 10 * 2**n), abs=2) for n in range(11)]
    assert waits[-1] is None
    assert seen == list(range(1, 13))
    assert row(db, id)["processing_failures"] == 12


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("raised", ["queued", "queued", "failed"]),
        ("crashed", ["queued", "queued", "failed"]),
        ("rejected", ["failed"]),
        ("timeout", ["failed"]),
    ],
)
def test_a_failure_is_tried_again_while_the_budget_lasts(db: Database, outcome: str, expected: list[str]) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    answers = []
    while row(db, id)["processing_status"] == "queued":
        answers.append(fail(db, id, claim(db, node).token, outcome=outcome, error=f"it {outcome}"))

    found = row(db, id)
    history = attempts(db, id)[::-1]
    assert answers == expected
    assert (found["processing_status"], found["processing_errors"]) == ("failed", f"it {outcome}")
    assert (found["processing_server_id"], found["processing_completed_at"] is None) == ("node-a", False)
    assert [(event["outcome"], event["next_status"]) for event in history] == [(outcome, state) for state in expected]
    assert [event["attempt"] for event in history] == list(range(1, len(expected) + 1))
    assert {(event["reason"], event["server_id"], event["actor"]) for event in history} == {
        (f"it {outcome}", "node-a", "test")
    }
    assert all(event["token"] and event["started_at"] <= event["ended_at"] for event in history)


def test_a_failure_told_twice_counts_once(db: Database) -> None:
    id, token = claimed(db)

    answers = [fail(db, id, token), fail(db, id, token)]

    assert answers == ["queued", "lost"]
    assert row(db, id)["processing_failures"] == 1
    assert len(attempts(db, id)) == 1


def test_a_released_file_keeps_its_place_its_failures_and_its_attempt(db: Database) -> None:
    id, token = claimed(db)
    fail(db, id, token)
    before = row(db, id)
    answer = claims.claim(db, boot(db, "node-b"))

    said = claims.release(db, id=id, token=answer.token, reason="drained", actor="node-b")

    after = row(db, id)
    assert said == "queued"
    for column in ("processing_queued_at", "processing_failures", "processing_errors"):
        assert after[column] == before[column]
    assert (after["processing_attempt"], after["processing_server_id"], after["processing_token"]) == (2, None, None)
    assert (attempts(db, id)[0]["outcome"], attempts(db, id)[0]["reason"]) == ("released", "drained")


# -- what operators do -----------------------------------------------------------------------


@pytest.mark.parametrize("was", ["failed", "completed"])
def test_a_requeued_file_has_a_fresh_budget_and_the_history_keeps_the_row_as_it_was(db: Database, was: str) -> None:
    id, token = claimed(db)
    if was == "failed":
        fail(db, id, token, outcome="rejected", error="bad header")
    else:
        claims.complete(db, id=id, token=token, result={"rows": 3})
    before = row(db, id)

    requeued = queue.requeue(db, [id], actor="me", reason="parser mended")

    after = row(db, id)
    (event,) = events(db, "requeue")
    assert [(each["id"], each["was"]) for each in requeued] == [(id, was)]
    assert (after["processing_status"], after["processing_failures"], after["processing_attempt"]) == ("queued", 0, 1)
    assert (event["actor"], event["reason"], event["file_id"], event["outcome"]) == ("me", "parser mended", id, was)
    details = event["details"]
    for column in ("status", "server_id", "attempt", "errors", "result", "failures"):
        assert details[f"processing_{column}"] == before[f"processing_{column}"]
    assert details["processing_completed_at"].startswith(f"{before['processing_completed_at']:%Y-%m-%dT%H:%M}")
    assert claims.claim(db, boot(db, "node-b")).outcome == "claimed"


def test_every_failed_file_is_every_one_and_what_fails_again_meanwhile_is_not_taken_twice(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requeuing, "_REQUEUED", 2)
    tokens = [claimed(db, f"node-{n}") for n in range(5)]
    for id, token in tokens:
        fail(db, id, token, outcome="rejected")
    real, batches = Database.run, []

    def run(self: Database, name: str, /, **values: object) -> list[dict[str, object]]:
        found = real(self, name, **values)
        if name == "requeue":
            batches.append(len(found))
            again = claims.claim(db, boot(db, f"again-{len(batches)}"))
            fail(db, again.row["id"], again.token, outcome="rejected")
        return found

    monkeypatch.setattr(Database, "run", run)

    assert len(queue.requeue(db, failed=True, actor="me")) == 5
    assert batches == [2, 2, 1]
    assert [row(db, id)["processing_status"] for id, _ in tokens].count("failed") == 3
    assert len(queue.requeue(db, [id for id, _ in tokens], limit=1, actor="me")) == 1


def test_requeue_leaves_alone_what_has_not_ended_and_what_is_deleted(db: Database) -> None:
    held, _ = claimed(db)
    queued, gone = files(db, "b", "c")
    put(db, gone, "processing_status = 'failed', deleted = true")

    requeued = queue.requeue(db, [held, queued, gone, "999"], actor="me")

    assert requeued == []
    assert [row(db, id)["processing_status"] for id in (held, queued, gone)] == ["processing", "queued", "failed"]


def test_failed_files_are_requeued_by_their_error_and_their_server(db: Database) -> None:
    ids = files(db, "a", "b", "c", "d")
    for id, error, server in zip(ids, ["line 17", "line 4", "disk full", "line 9"], "xxxy", strict=True):
        put(db, id, f"processing_status = 'failed', processing_errors = '{error}', processing_server_id = '{server}'")
    grouped = {each["error"]: each["file_count"] for each in db.run("failures", of_lane="", row_limit=10)}

    some = queue.requeue(db, failed=True, error="line #", server_id="x", actor="me")
    rest = queue.requeue(db, failed=True, actor="me")

    assert grouped == {"line #": 3, "disk full": 1}
    assert {each["id"] for each in some} == set(ids[:2])
    assert {each["id"] for each in rest} == set(ids[2:])


def test_rows_from_before_are_adopted_in_batches(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    files(db, *(f"file-{n}" for n in range(25)))
    with application(db.settings) as connection:
        run(connection, f"UPDATE {db.settings.files} SET processing_status = NULL")
        run(connection, f"UPDATE {db.settings.files} SET deleted = true WHERE original_filename = 'file-3'")
    monkeypatch.setattr(adopting, "_BATCH", 10)
    said: list[Progress] = []

    counted = queue.adopt(db, "original_filename <> 'file-4'", actor="me", dry_run=True)
    nothing_yet = db.run("distribution")
    adopted = queue.adopt(db, "original_filename <> 'file-4'", actor="me", on_progress=said.append)
    again = queue.adopt(db, "original_filename <> 'file-4'", actor="me")

    assert (counted, adopted, again) == (23, 23, 0)
    assert nothing_yet == []
    assert [(now.done, now.total) for now in said] == [(10, 23), (20, 23), (23, 23)]
    assert (said[0].text, said[-1].share) == ("adopting: 10 of 23 rows", 1.0)
    assert db.run("distribution") == [{"processing_server_id": None, "processing_status": "queued", "file_count": 23}]
    assert [event["reason"] for event in events(db, "adopt")] == [f"{n} rows from before" for n in (10, 10, 3)]


def test_a_condition_for_adoption_cannot_write(db: Database) -> None:
    (id,) = files(db, "a")
    put(db, id, "processing_status = NULL")
    with application(db.settings) as connection:
        run(
            connection,
            f"""CREATE FUNCTION vandal() RETURNS boolean LANGUAGE sql AS
                            $$ DELETE FROM {db.settings.files} RETURNING true $$""",
        )

    with pytest.raises(OpskitError, match="read-only"):
        queue.adopt(db, "vandal()", actor="me")

    assert row(db, id)["id"] == int(id)
