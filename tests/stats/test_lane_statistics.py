"""Statistics of lanes: what became of each lane's files, every list narrowed to one; without lanes none changes."""

from __future__ import annotations

import json

import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from opskit.stats.catalog import STATISTICS
from tests.queue.test_lanes import laned, queued
from tests.support.api import served
from tests.support.nodes import ask, status
from tests.support.tables import ask_psql, boot, files, opskit

pytestmark = pytest.mark.new_database  # each of these tests changes the table

NARROWED = sorted(name for name, one in STATISTICS.items() if "lane" in one.usual)
NAMING_FILES = sorted(name for name, one in STATISTICS.items() if one.lane_of)


@pytest.fixture
def ended(db: Database) -> Database:
    """Lanes north, south and none: one file of each completed, one failed, one queued; of east two have failed."""
    laned(db)
    for lane in ("north", "south", None):
        queued(db, lane, 3)
    queued(db, "east", 2)
    table = db.settings.files
    ask(
        db,
        f"UPDATE {table} SET processing_server_id = 'node-a', processing_queued_at = now() - interval '3 min', "
        "processing_status = CASE right(original_filename, 1) WHEN '1' THEN 'completed' ELSE 'failed' END, "
        "processing_started_at = now() - interval '1 min', processing_completed_at = now(), "
        "processing_attempt = 1, processing_errors = 'ValueError: bad line 7' "
        "WHERE right(original_filename, 1) IN ('1', '2') AND customer IS DISTINCT FROM 'east'",
    )
    ask(
        db,
        f"UPDATE {table} SET processing_status = 'failed', processing_server_id = 'node-b', "
        "processing_completed_at = now(), processing_started_at = now() - interval '2 min', processing_attempt = 1, "
        "processing_errors = 'KeyError: 1' "
        "WHERE customer = 'east'",
    )
    return db


def test_lane_work_tells_what_became_of_each_lane_and_its_share_of_the_nodes_time(ended: Database) -> None:
    frame = stats.lane_work(ended)

    rows = stats.records(frame)
    assert [(row["lane"], row["ended"], row["completed"], row["failed"]) for row in rows] == [
        ("east", 2, 0, 2), ("north", 2, 1, 1), ("south", 2, 1, 1), (None, 2, 1, 1),
    ]  # fmt: skip
    assert rows[1]["mean_wait_seconds"] == rows[1]["wait_p95_seconds"] == pytest.approx(120)
    assert rows[1]["mean_run_seconds"] == pytest.approx(60)
    assert [row["share"] for row in rows] == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert [row["lane"] for row in stats.records(stats.lane_work(ended, limit=1))] == ["east"]


def test_distribution_throughput_and_failures_are_narrowed_to_one_lane(ended: Database) -> None:
    spread = stats.records(stats.distribution(ended, lane="north"))
    none = stats.records(stats.distribution(ended, lane="(none)", patience_seconds=5))
    ended_in = stats.records(stats.throughput(ended, lane="east"))
    errors = stats.records(stats.failures(ended, lane="south"))

    assert [(row["processing_server_id"], row["processing_status"], row["file_count"]) for row in spread] == [
        (None, "queued", 1), ("node-a", "completed", 1), ("node-a", "failed", 1),
    ]  # fmt: skip
    assert [row["file_count"] for row in none] == [1, 1, 1]
    assert [(row["processing_server_id"], row["file_count"]) for row in ended_in] == [("node-b", 2)]
    assert [(row["error"], row["file_count"], row["example"]) for row in errors] == [
        ("ValueError: bad line #", 1, "south-2")
    ]
    assert stats.records(stats.failures(ended, lane="west")) == []


def test_the_lists_that_name_files_tell_their_lanes_where_there_are_lanes(db: Database) -> None:
    laned(db)
    north, south = queued(db, "north", 1) + queued(db, "south", 1)
    queue.expedite(db, [north, south], actor="ann")
    ask(db, f"DELETE FROM {db.settings.files} WHERE id = %s", south)
    claims.claim_one(db, boot(db), north)

    history = stats.records(stats.events(db, kind="expedite"))
    held = stats.records(stats.stale(db, every=True))
    bars = stats.records(stats.timeline(db))

    assert [(row["file_id"], row["lane"]) for row in history] == [(south, None), (north, "north")]
    assert [row["lane"] for row in held] == ["north"]
    assert [row["lane"] for row in bars if row["kind"] == "attempt"] == ["north"]
    assert [row["file_id"] for row in stats.records(stats.events(db, kind="expedite", lane="north"))] == [north]


def test_the_history_of_one_lane_is_read_in_pages(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opskit.stats.list_rows._BATCH", 3)
    laned(db)
    north, south = queued(db, "north", 4), queued(db, "south", 4)
    for pair in zip(north, south, strict=True):
        queue.expedite(db, pair, actor="ann")

    first = stats.events(db, lane="north", limit=2)
    rest = stats.events(db, lane="north", before=int(first["id"].iloc[-1]), limit=9)

    assert first.attrs["more"]
    assert [*first["file_id"], *rest["file_id"]] == north[::-1]


@pytest.mark.parametrize("name", NAMING_FILES)
def test_without_lanes_the_lists_have_no_such_column(db: Database, name: str) -> None:
    boot(db)
    frame = STATISTICS[name](db)

    assert list(frame.columns) == list(STATISTICS[name].columns)
    assert "lane" not in frame.columns


@pytest.mark.parametrize("name", NARROWED)
def test_a_list_cannot_be_narrowed_to_a_lane_where_there_are_none(db: Database, name: str) -> None:
    with pytest.raises(
        SettingError, match=r"dev_uploaded_files has no lanes; run: opskit migrate --lane-column COLUMN"
    ):
        STATISTICS[name](db, lane="north")


@pytest.mark.slow
def test_shell_and_api_narrow_to_a_lane_as_python_does(ended: Database) -> None:
    client = served(ended, ended.settings)
    for name in ("distribution", "throughput", "failures"):
        wanted = stats.records(STATISTICS[name](ended, lane="north"))
        by_shell = json.loads(opskit(ended.settings, "stats", name, "--lane", "north", "--json").stdout)
        by_api = client.get(f"/api/processing/{name}?lane=north").json()

        assert [row["file_count"] for row in by_shell] == [row["file_count"] for row in wanted] != []
        assert [row["fileCount"] for row in by_api] == [row["file_count"] for row in wanted]
    history = client.get("/api/processing/events?lane=north")
    assert (history.status_code, history.json()) == (200, [])
    assert client.get("/api/processing/lane-work").json()[0]["lane"] == "east"


def test_psql_narrows_to_a_lane_as_python_does(ended: Database) -> None:
    for name, values in (("distribution_of_lane", {}), ("throughput", {}), ("failures", {}),
                         ("failed_files", {"error": "ValueError: bad line #"})):  # fmt: skip
        rows = ask_psql(ended.settings, name, of_lane="north", **values)
        assert sum(int(row.get("file_count", 1)) for row in rows) == {"distribution_of_lane": 3, "throughput": 2}.get(
            name, 1
        )
    assert [row["lane"] for row in ask_psql(ended.settings, "lane_work")] == ["east", "north", "south", ""]


def test_a_lane_of_a_table_without_lanes_is_refused_by_shell_and_api(db: Database) -> None:
    by_shell = opskit(db.settings, "stats", "failures", "--lane", "north")
    by_api = served(db, db.settings).get("/api/processing/failures?lane=north")

    assert (by_shell.returncode, "has no lanes" in by_shell.stderr) == (1, True)
    assert (by_api.status_code, "has no lanes" in by_api.text) == (400, True)


# -- acts ------------------------------------------------------------------------------------------


def test_one_lane_is_cancelled_as_its_preview_shows_it_and_nothing_of_the_others(db: Database) -> None:
    laned(db)
    north, south, none = queued(db, "north", 3), queued(db, "south", 2), queued(db, None, 1)

    shown = queue.preview_cancel(db, every=True, lane="north")
    done = queue.cancel(db, every=True, lane="north", actor="ann", reason="wrong customer")
    without = opskit(db.settings, "cancel", "--all", "--lane", "(none)", "--yes")

    assert [row["id"] for row in shown] == [row["id"] for row in done.ended] == north
    assert "Cancelled 1 file" in without.stdout, without.stderr
    assert status(db, none[0]) == "failed"
    assert {status(db, id) for id in south} == {"queued"}


def test_the_failed_files_of_one_lane_are_queued_again_and_none_of_another_s(db: Database) -> None:
    laned(db)
    north, south = queued(db, "north", 2), queued(db, "south", 2)
    for id in (*north, *south):
        ask(
            db,
            f"UPDATE {db.settings.files} SET processing_status = 'failed', processing_completed_at = now(), "
            "processing_errors = 'ValueError: bad line 7' WHERE id = %s",
            id,
        )
    (group,) = stats.records(stats.failures(db))

    by_error = queue.requeue(db, failed=True, error=group["error"], lane="north", actor="ann")
    client = served(db, db.settings)
    by_api = client.post("/api/processing/requeue", json={"failed": True, "lane": "west"})
    mixed = client.post("/api/processing/requeue", json={"ids": north, "lane": "north"})
    by_shell = opskit(db.settings, "requeue", "--failed", "--lane", "south", "--dry-run", "--json")

    assert sorted(row["id"] for row in by_error) == sorted(north)
    assert by_api.json()["requeuedFiles"] == 0
    assert mixed.status_code == 400
    assert sorted(row["id"] for row in json.loads(by_shell.stdout)["files"]) == sorted(south)


def test_acts_by_lane_are_refused_where_there_are_no_lanes(db: Database) -> None:
    (id,) = files(db, "a")
    with pytest.raises(SettingError, match="has no lanes"):
        queue.cancel(db, every=True, lane="north")
    with pytest.raises(SettingError, match="has no lanes"):
        queue.requeue(db, failed=True, lane="north")
    assert status(db, id) == "queued"
