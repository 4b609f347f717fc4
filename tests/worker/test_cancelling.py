"""Cancelled files: they end at once, whoever holds them, and nothing tries them again by itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import ClaimLostError, Retry, SettingError
from opskit.queue import claims, interruptions
from opskit.queue.cancelling import end_cancelled
from opskit.queue.deferring import defer
from tests.support.api import served
from tests.support.dripping import dripping
from tests.support.nodes import Node, add_files, ask, record, running_nodes, status, until, violations
from tests.support.tables import ask_psql, attempts, boot, claim, claimed, fail, files, opskit, put, row

HOUR = "3600"
# No heartbeat helps within a test.
SLOW_BEAT = {"OPSKIT_LEASE_SECONDS": "60"}


def events(db: Database, id: str, kind: str = "cancel") -> list[dict[str, Any]]:
    """What the history says of a file, oldest first."""
    return ask(db, f"SELECT * FROM {db.names['events']} WHERE file_id = %s AND kind = %s ORDER BY id", id, kind)


@contextlib.contextmanager
def locked(db: Database, id: str, token: str) -> Iterator[None]:
    """A processor's open block of completing(), from another process's connection."""
    with Database(db.settings, pooled=False) as own, claims.completing(own, id=id, token=token):
        yield


def asked_for(db: Database, id: str) -> None:
    """Cancel a file whose row is locked."""
    done = queue.cancel(db, [id], actor="ann", reason="wrong customer")
    assert [row["outcome"] for row in done.asked] == ["asked"], done


# -- in the database ---------------------------------------------------------------------------


def test_a_queued_file_that_is_cancelled_is_claimed_by_nobody(db: Database) -> None:
    (id,) = files(db, "a")

    done = queue.cancel(db, [id], actor="ann", reason="wrong customer")

    assert [(one["id"], one["was"], one["outcome"]) for one in done.ended] == [(id, "queued", "failed")]
    assert claims.claim(db, boot(db)).outcome == "empty"
    assert row(db, id)["processing_errors"] == "Cancelled by ann: wrong customer"
    (event,) = events(db, id)
    assert (event["actor"], event["reason"], event["next_status"]) == ("ann", "wrong customer", "failed")
    assert event["details"]["processing_status"] == "queued"
    assert attempts(db, id) == []


def test_a_running_file_that_is_cancelled_has_ended_and_the_late_write_of_its_processor_is_refused(
    db: Database,
) -> None:
    id, token = claimed(db)

    queue.cancel(db, [id], actor="ann", reason="wrong customer")

    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)
    with pytest.raises(ClaimLostError), claims.completing(db, id=id, token=token):
        pytest.fail("the block must not begin")
    assert (status(db, id), row(db, id)["processing_server_id"]) == ("failed", "node-a")
    (attempt,) = attempts(db, id)
    assert (attempt["outcome"], attempt["actor"], attempt["token"].hex) == ("cancelled", "ann", token.replace("-", ""))
    assert row(db, id)["processing_failures"] == 0


def test_a_file_whose_row_is_locked_is_ended_by_whoever_ends_its_attempt_and_never_queued_again(db: Database) -> None:
    def raised(id: str, token: str) -> str:
        return fail(db, id, token)

    def released(id: str, token: str) -> str:
        return claims.release(db, id=id, token=token, reason="drained", actor="node-a")

    def interrupted(id: str, token: str) -> str:
        return interruptions.interrupt(db, id=id, token=token, reason="away", actor="node-a")

    def killed(id: str, token: str) -> str:
        return end_cancelled(db, id=id, token=token, actor="node-a")

    def deferred(id: str, token: str) -> str:
        return defer(db, Retry(after_seconds=1), id=id, token=token, actor="node-a")

    for number, end in enumerate((raised, released, interrupted, deferred, killed)):
        id, token = claimed(db, f"node-{number}")
        with contextlib.suppress(ZeroDivisionError), locked(db, id, token):
            asked_for(db, id)
            raise ZeroDivisionError

        assert end(id, token) == "failed"

        assert status(db, id) == "failed"
        (attempt,) = attempts(db, id)
        assert (attempt["outcome"], attempt["reason"]) == ("cancelled", "Cancelled by ann: wrong customer"), end
        assert [event["next_status"] for event in events(db, id)] == ["processing"]


def test_a_completion_that_is_quicker_than_the_cancel_wins(db: Database) -> None:
    id, token = claimed(db)

    with locked(db, id, token):
        asked_for(db, id)

    assert status(db, id) == "completed"
    assert end_cancelled(db, id=id, token=token, actor="node-a") == "lost"


def test_a_cancelled_file_of_a_dead_node_is_failed_by_the_reaper_although_its_budget_lasts(db: Database) -> None:
    id, token = claimed(db)
    with contextlib.suppress(ZeroDivisionError), locked(db, id, token):
        asked_for(db, id)
        raise ZeroDivisionError
    ask(db, f"UPDATE {db.names['nodes']} SET epoch = 9, first_epoch = 9")
    (seen,) = queue.preview(db)

    queue.cleanup(db, actor="reaper")

    assert (seen["verdict"], seen["would_become"]) == ("rebooted", "failed")
    assert status(db, id) == "failed"
    assert [one["outcome"] for one in attempts(db, id)] == ["cancelled"]
    assert queue.requeue(db, failed=True, actor="test") == []


@pytest.mark.slow
def test_a_lock_that_is_held_for_a_moment_is_waited_for(db: Database) -> None:
    id, token = claimed(db)
    holds = threading.Event()

    def hold() -> None:
        with contextlib.suppress(ZeroDivisionError), locked(db, id, token):
            holds.set()
            time.sleep(0.1)
            raise ZeroDivisionError

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(10)
    done = queue.cancel(db, [id], actor="ann")
    thread.join()

    assert [one["id"] for one in done.ended] == [id]


def test_requeue_of_all_failed_files_leaves_cancelled_ones_out_unless_it_is_asked_for_them(db: Database) -> None:
    cancelled, failed = files(db, "cancelled", "failed")
    queue.cancel(db, [cancelled], actor="ann")
    fail(db, failed, claim(db, boot(db)).token, max_failures=1)

    assert [one["id"] for one in queue.requeue(db, failed=True, actor="ann")] == [failed]
    assert [one["id"] for one in queue.requeue(db, failed=True, cancelled=True, actor="ann")] == [cancelled]

    queue.cancel(db, [cancelled], actor="ann")
    assert [one["id"] for one in queue.requeue(db, [cancelled], actor="ann")] == [cancelled]
    queue.cancel(db, [cancelled], actor="ann")
    assert [one["id"] for one in queue.requeue(db, failed=True, error="Cancelled", actor="ann")] == [cancelled]


def test_a_claim_of_an_older_processor_says_that_its_late_write_still_counts(db: Database) -> None:
    (id,) = files(db, "a")
    put(db, id, "processing_status = 'processing', processing_server_id = 'old', processing_started_at = now()")

    (one,) = queue.cancel(db, [id], actor="ann").ended
    put(db, id, "processing_status = 'completed', processing_completed_at = now()")

    assert one["reason"] == "claimed without a token: who claimed it can complete it all the same"
    assert status(db, id) == "completed"


def test_a_filtered_set_is_cancelled_as_its_preview_shows_it(db: Database) -> None:
    invoices = files(db, "invoice-1", "INVOICE-2", "letter")[:2]
    running, _ = claimed(db)

    would = queue.preview_cancel(db, every=True, status="queued", search="invoice")
    done = queue.cancel(db, every=True, status="queued", search="invoice", actor="ann")

    assert [one["id"] for one in would] == invoices
    assert sorted(one["id"] for one in done.ended) == invoices
    assert status(db, running) == "processing"
    assert [one["id"] for one in queue.preview_cancel(db, every=True, server_id="node-a")] == [running]
    assert len(queue.cancel(db, every=True, actor="ann").ended) == 2


def test_cancel_of_every_file_goes_on_in_batches_past_what_is_locked(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opskit.queue.cancelling.BATCH", 2)
    id, token = claimed(db)
    files(db, *"abcde")

    with contextlib.suppress(ZeroDivisionError), locked(db, id, token):
        done = queue.cancel(db, every=True, actor="ann")
        raise ZeroDivisionError

    assert (len(done.ended), [one["id"] for one in done.asked]) == (5, [id])
    assert len(events(db, id)) == 1


def test_a_cancel_says_what_it_could_not_do(db: Database) -> None:
    (ended,) = files(db, "a")
    claims.complete(db, id=ended, token=claim(db, boot(db)).token)

    done = queue.cancel(db, [ended, "999"], actor="ann")

    assert (done.ended, done.skipped) == ([], [ended, "999"])
    assert done.message == "No file was cancelled: none is queued or in processing"
    with pytest.raises(SettingError, match="say which files"):
        queue.cancel(db, actor="ann")
    with pytest.raises(SettingError, match="the state is 'failed'"):
        queue.cancel(db, every=True, status="failed", actor="ann")


# -- on nodes ------------------------------------------------------------------------------------


def in_hand(db: Database, id: str) -> None:
    """Wait until a node has had a file in hand for so long that its supervisor listens."""
    old = "processing_status = 'processing' AND processing_started_at < clock_timestamp() - interval '1.5 seconds'"
    until(lambda: ask(db, f"SELECT 1 FROM {db.settings.files} WHERE id = %s AND {old}", id))


def seconds_until_killed(node: Node, child: int | None) -> float:
    """How long the node's child lives on."""
    begun = time.monotonic()
    until(lambda: node.child() != child)
    return time.monotonic() - begun


def test_the_processor_of_a_cancelled_file_is_killed_within_a_second_and_the_node_goes_on(
    db: Database, tmp_path: Path
) -> None:
    (id,) = add_files(db, "a")
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", act="slow", ACT_SECONDS=HOUR, **SLOW_BEAT)
        in_hand(db, id)
        child = node.child()

        queue.cancel(db, [id], actor="ann")
        waited = seconds_until_killed(node, child)

        (later,) = add_files(db, "b")
        until(lambda: status(db, later) == "processing")
    assert status(db, id) == "failed"
    assert waited < 1.0, waited


def test_a_file_that_its_processor_has_locked_ends_within_a_second_and_nothing_of_it_is_written(
    db: Database, tmp_path: Path
) -> None:
    record(db)
    (id,) = add_files(db, "a")
    with running_nodes(db, tmp_path) as start:
        start("node-a", act="effect_then_wait", ACT_SECONDS=HOUR, **SLOW_BEAT)
        in_hand(db, id)

        begun = time.monotonic()
        queue.cancel(db, [id], actor="ann", reason="wrong customer")
        until(lambda: status(db, id) == "failed")
        waited = time.monotonic() - begun

    assert ask(db, "SELECT * FROM effects") == []
    assert [(one["outcome"], one["actor"]) for one in attempts(db, id)] == [("cancelled", "ann")]
    assert waited < 1.0, waited


@pytest.mark.slow
def test_a_load_that_is_cancelled_in_the_middle_of_its_copy_ends_and_loads_nothing(
    db: Database, tmp_path: Path
) -> None:
    with dripping(db, tmp_path) as id, running_nodes(db, tmp_path) as start:
        start("node-a", act="opskit.processors:load_table", **SLOW_BEAT)
        in_hand(db, id)
        until(lambda: ask(db, "SELECT 1 FROM pg_stat_progress_copy"))

        begun = time.monotonic()
        queue.cancel(db, [id], actor="ann")
        until(lambda: status(db, id) == "failed")
        waited = time.monotonic() - begun
    assert [one["outcome"] for one in attempts(db, id)] == ["cancelled"]
    assert ask(db, "SELECT to_regclass('dev_loaded_sales') IS NULL AS gone") == [{"gone": True}]
    assert waited < 1.0, waited


@pytest.mark.slow
def test_a_statement_that_runs_for_long_does_not_keep_its_file_from_being_cancelled(
    db: Database, tmp_path: Path
) -> None:
    (id,) = add_files(db, "a")
    with running_nodes(db, tmp_path) as start:
        start("node-a", act="sleep_in_database", ACT_SECONDS=HOUR, **SLOW_BEAT)
        in_hand(db, id)

        queue.cancel(db, [id], actor="ann")

        until(lambda: status(db, id) == "failed", 5)


@pytest.mark.slow
def test_a_frozen_node_whose_file_was_cancelled_is_refused_when_it_thaws(db: Database, tmp_path: Path) -> None:
    record(db)
    (id,) = add_files(db, "a")
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", act="effect", ACT_SECONDS="0.5", **SLOW_BEAT)
        until(lambda: db.run("held", server_id="node-a"))
        for pid in (node.process.pid, node.own_child()):
            os.kill(pid, signal.SIGSTOP)
        queue.cancel(db, [id], actor="ann")
        for pid in (node.own_child(), node.process.pid):
            os.kill(pid, signal.SIGCONT)

        (later,) = add_files(db, "b")
        until(lambda: status(db, later) == "completed")
    assert status(db, id) == "failed"
    assert ask(db, "SELECT file_id FROM effects") == [{"file_id": later}]
    assert violations(db) == []


# -- the doors -----------------------------------------------------------------------------------


def test_the_shell_cancels_files_by_id_and_asks_before_it_cancels_a_set(db: Database) -> None:
    one, two, three = files(db, "one", "two", "three")

    by_id = opskit(db.settings, "cancel", one, "--reason", "wrong customer", "--json")
    preview = opskit(db.settings, "cancel", "--all", "--search", "t", "--dry-run", "--json")
    unasked = opskit(db.settings, "cancel", "--all", "--search", "t")
    asked = opskit(db.settings, "cancel", "--all", "--search", "t", "--yes")
    neither = opskit(db.settings, "cancel")

    assert json.loads(by_id.stdout)["cancelledFiles"] == 1
    assert [file["id"] for file in json.loads(preview.stdout)["files"]] == [two, three]
    assert (unasked.returncode, "say --yes" in unasked.stderr) == (1, True)
    assert "Cancelled 2 files" in asked.stdout, asked.stderr
    assert (neither.returncode, "say which files" in neither.stderr) == (1, True)
    assert {status(db, id) for id in (one, two, three)} == {"failed"}


def test_psql_cancels_as_python_does(db: Database) -> None:
    one, two = files(db, "one", "two")

    by_id = ask_psql(db.settings, "cancel", which="ids", ids=f"{{{one}}}", reason="wrong customer")
    shown = ask_psql(db.settings, "cancellable", which="live")

    assert [(file["id"], file["outcome"]) for file in by_id] == [(one, "failed")]
    assert [file["id"] for file in shown] == [two]
    assert events(db, one)[0]["actor"] == "psql"


def test_the_api_cancels_files_and_shows_beforehand_which(db: Database) -> None:
    one, two, three = files(db, "one", "two", "three")
    client, path = served(db, db.settings), "/api/processing/cancel"

    shown = client.post(path, json={"every": True, "search": "t", "dryRun": True})
    by_id = client.post(path, json={"ids": [one], "reason": "wrong customer"})
    by_filter = client.post(path, json={"every": True, "status": "queued"})
    neither = client.post(path, json={})

    assert [file["id"] for file in shown.json()["files"]] == [two, three]
    assert (by_id.json()["cancelledFiles"], by_id.json()["files"][0]["outcome"]) == (1, "failed")
    assert by_filter.json()["cancelledFiles"] == 2
    assert neither.status_code == 400
