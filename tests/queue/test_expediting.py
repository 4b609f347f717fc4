"""Files with a head start: they come first, nothing starves, and no wait is told with the head start in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from tests.support.api import served
from tests.support.nodes import add_many, ask, status
from tests.support.tables import ask_psql, boot, claim, fail, files, opskit, put, row

HOUR = 3600.0


def came(db: Database, id: str, hours_ago: float) -> None:
    """Let a file have come so long ago."""
    put(db, id, f"processing_queued_at = clock_timestamp() - interval '{hours_ago} hours'")


def oldest_minutes(db: Database) -> float:
    """The age of the oldest queued file, as each statement tells it."""
    seconds = {
        db.one("concurrency", stale_after_seconds=3600)["oldest_queued_seconds"],
        db.one("live", stale_after_seconds=3600)["oldest_queued_seconds"],
        db.one("doctor/backlog", since_seconds=900, row_limit=10_000)["oldest_seconds"],
    }
    assert max(seconds) - min(seconds) < 5
    return float(round(max(seconds) / 60))


def claimed_names(db: Database, count: int) -> list[str]:
    """The names of the next files, each claimed by a node of its own."""
    return [claim(db, boot(db, f"node-{n}")).row["original_filename"] for n in range(count)]  # type: ignore[index]


def test_a_file_with_a_head_start_overtakes_what_came_within_it_and_nothing_else(db: Database) -> None:
    for name, age in (("three hours", 3.0), ("one hour", 1.0), ("urgent", 0.0)):
        came(db, files(db, name)[0], age)
    (urgent,) = [
        one["id"] for one in ask(db, f"SELECT id::text FROM {db.settings.files} WHERE original_filename = 'urgent'")
    ]

    (moved,) = queue.expedite(db, [urgent], ahead_seconds=2 * HOUR, actor="ann", reason="the auditor waits")

    assert (moved["arrived_at"] - moved["place"]).total_seconds() == 2 * HOUR
    assert claimed_names(db, 3) == ["three hours", "urgent", "one hour"]
    (event,) = ask(db, f"SELECT * FROM {db.names['events']} WHERE kind = 'expedite'")
    assert (event["file_id"], event["actor"], event["reason"]) == (urgent, "ann", "the auditor waits")
    assert event["details"]["ahead_seconds"] == 2 * HOUR


def test_waits_and_the_oldest_queued_file_are_told_without_the_head_start(db: Database) -> None:
    old, urgent = files(db, "old", "urgent")
    came(db, old, 0.5)
    queue.expedite(db, [urgent], ahead_seconds=2 * HOUR, actor="ann")
    assert oldest_minutes(db) == 30

    answer = claim(db, boot(db))
    assert answer.row is not None
    assert answer.row["id"] == urgent
    claims.complete(db, id=urgent, token=answer.token)

    (throughput,) = stats.throughput(db).to_dict("records")
    waits = [one for one in db.run("counted", since="2000-01-01", bounds=["60"]) if one["measure"] == "wait"]
    assert 0 <= throughput["mean_wait_seconds"] < 60
    assert [(one["bucket"], one["attempts"]) for one in waits] == [(0, 1)]
    assert oldest_minutes(db) == 30


def test_the_oldest_queued_file_is_found_behind_files_that_overtook_it(db: Database) -> None:
    (old,) = files(db, "old")
    came(db, old, 1.0)
    add_many(db, 20)
    ids = [
        one["id"]
        for one in ask(
            db, f"SELECT id::text FROM {db.settings.files} WHERE original_filename LIKE 'file-%%' AND %s", True
        )
    ]

    queue.expedite(db, ids, ahead_seconds=3 * HOUR, actor="ann")

    assert oldest_minutes(db) == 60


def test_a_second_head_start_replaces_the_first_and_none_takes_it_back(db: Database) -> None:
    (id,) = files(db, "a")
    arrived = row(db, id)["processing_queued_at"]

    for hours in (1.0, 5.0, 0.0):
        queue.expedite(db, [id], ahead_seconds=hours * HOUR, actor="ann")

        now = row(db, id)
        assert now["processing_arrived_at"] == arrived
        assert (arrived - now["processing_queued_at"]).total_seconds() == hours * HOUR


def test_a_file_that_waits_for_its_retry_is_due_at_once(db: Database) -> None:
    (id,) = files(db, "a")
    node = boot(db)
    fail(db, id, claim(db, node).token, retry_seconds=HOUR)
    assert claims.claim(db, node).outcome == "empty"

    queue.expedite(db, [id], ahead_seconds=0, actor="ann")

    assert claim(db, node).row["id"] == id  # type: ignore[index]


def test_a_file_that_is_queued_again_has_no_head_start_any_more(db: Database) -> None:
    (id,) = files(db, "a")
    came(db, id, 3.0)
    queue.expedite(db, [id], ahead_seconds=HOUR, actor="ann")
    assert oldest_minutes(db) == 180

    fail(db, id, claim(db, boot(db)).token)

    assert oldest_minutes(db) == 0


def test_new_files_are_queued_with_a_head_start(db: Database, tmp_path: Path) -> None:
    (waiting,) = files(db, "waiting")
    came(db, waiting, 1.0)
    (tmp_path / "urgent.csv").write_text("a\n")

    queue.enqueue(db, [tmp_path / "urgent.csv"], ahead_seconds=2 * HOUR)

    assert oldest_minutes(db) == 60
    assert claimed_names(db, 2) == ["urgent.csv", "waiting"]


def test_a_head_start_that_is_none_is_refused(db: Database) -> None:
    for seconds in (-1.0, 1e9, float("nan")):
        with pytest.raises(SettingError, match="the head start is"):
            queue.expedite(db, ["1"], ahead_seconds=seconds, actor="ann")
    with pytest.raises(SettingError, match="say which files"):
        queue.expedite(db, [], actor="ann")


@pytest.mark.slow
def test_shell_psql_and_api_expedite_as_python_does(db: Database, tmp_path: Path) -> None:
    one, two, three = files(db, "one", "two", "three")
    (tmp_path / "four").write_text("")

    shell = opskit(db.settings, "expedite", one, "--ahead", "4h", "--reason", "audit", "--json")
    by_psql = ask_psql(db.settings, "expedite", ids=f"{{{two}}}", ahead_seconds="10800")
    api = served(db, db.settings).post("/api/processing/expedite", json={"ids": [three], "aheadSeconds": 7200})
    queued = opskit(db.settings, "enqueue", "--ahead", "90m", str(tmp_path / "four"))
    wrong = opskit(db.settings, "expedite", one, "--ahead", "soon")

    assert json.loads(shell.stdout)["expedited"] == 1
    assert [file["id"] for file in by_psql] == [two]
    assert (api.json()["expeditedFiles"], api.json()["files"][0]["id"]) == (1, three)
    assert queued.returncode == 0, queued.stderr
    assert (wrong.returncode, "'soon' is no stretch of time" in wrong.stderr) == (2, True)
    assert claimed_names(db, 4) == ["one", "two", "three", "four"]
    assert status(db, one) == "processing"
