"""A head start for all files of a lane or a name: what the preview shows is what is moved, through every door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opskit import migration, queue
from opskit.database import Database
from opskit.errors import SettingError
from tests.support.api import served
from tests.support.nodes import ask
from tests.support.tables import ask_psql, files, opskit, put

HOUR = 3600.0


@pytest.fixture
def laned(db: Database) -> Database:
    """Two customers' files, some without a customer, one that has ended and one that waits for its retry."""
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN customer integer")
    migration.set_lanes(db, "customer", actor="test")
    files(db, "invoice-1", "letter-1", customer="17")
    files(db, "Invoice-2", customer="18")
    files(db, "invoice-3")
    (ended,) = files(db, "invoice-4", customer="17")
    put(db, ended, "processing_status = 'failed'")
    (retried,) = files(db, "letter-2", customer="17")
    put(db, retried, "processing_queued_at = now() + interval '2 hours'")
    return db


def moved(db: Database) -> dict[str, float]:
    """Each file's head start [h]."""
    rows = ask(
        db,
        "SELECT original_filename AS name, "
        "extract(epoch FROM processing_arrived_at - processing_queued_at)::float8 / 3600 AS hours "
        f"FROM {db.settings.files} WHERE processing_arrived_at IS NOT NULL AND %s ORDER BY id",
        True,
    )
    return {row["name"]: row["hours"] for row in rows}


def names(rows: list[dict[str, str]]) -> list[str]:
    return sorted(row.get("original_filename") or row["filename"] for row in rows)


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        ({"lane": "17"}, ["invoice-1", "letter-1", "letter-2"]),
        ({"lane": "(none)"}, ["invoice-3"]),
        ({"lane": "19"}, []),
        ({"search": "INVOICE"}, ["Invoice-2", "invoice-1", "invoice-3"]),
        ({"search": "invoice", "lane": "17"}, ["invoice-1"]),
        ({}, ["Invoice-2", "invoice-1", "invoice-3", "letter-1", "letter-2"]),
    ],
)
def test_every_queued_file_of_a_lane_and_a_name_is_moved_as_the_preview_says_and_once(
    laned: Database, which: dict[str, Any], meant: list[str]
) -> None:
    shown = queue.preview_expedite(laned, every=True, ahead_seconds=2 * HOUR, **which)
    assert moved(laned) == {}

    done = queue.expedite(laned, every=True, ahead_seconds=2 * HOUR, actor="ann", **which)
    again = queue.expedite(laned, every=True, ahead_seconds=2 * HOUR, actor="ann", **which)

    assert names(shown) == names(done) == meant
    assert moved(laned) == dict.fromkeys(meant, 2.0)
    assert [row["arrived_at"] - row["place"] for row in shown] == [row["arrived_at"] - row["place"] for row in done]
    assert (again, queue.preview_expedite(laned, every=True, ahead_seconds=2 * HOUR, **which)) == ([], [])


def test_many_files_are_moved_in_batches_and_no_more_than_the_limit(
    laned: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opskit.queue.expediting.BATCH", 2)

    limited = queue.expedite(laned, every=True, limit=3, actor="ann")
    rest = queue.expedite(laned, every=True, actor="ann")
    by_id = queue.expedite(laned, [row["id"] for row in (*limited, *rest)], ahead_seconds=0, actor="ann")

    assert [len(limited), len(rest), len(by_id)] == [3, 2, 5]
    assert moved(laned) == dict.fromkeys(moved(laned), 0.0)


def test_ids_and_every_file_together_are_refused_and_a_lane_where_there_are_none(db: Database) -> None:
    for ask_for in (queue.expedite, queue.preview_expedite):
        with pytest.raises(SettingError, match="say which files"):
            ask_for(db, ["1"], every=True)
        with pytest.raises(SettingError, match="say which files"):
            ask_for(db)
        with pytest.raises(SettingError, match="has no lanes; run: opskit migrate --lane-column"):
            ask_for(db, every=True, lane="17")


def test_shell_psql_and_api_preview_and_move_what_a_filter_lets_through(laned: Database) -> None:
    api = served(laned, laned.settings)
    given = {"every": True, "lane": "17", "search": "letter", "aheadSeconds": 7200}

    shell = opskit(laned.settings, "expedite", "--all", "--lane", "17", "--ahead", "2h", "--dry-run", "--json")
    unsure = opskit(laned.settings, "expedite", "--all", "--lane", "17")
    by_psql = ask_psql(laned.settings, "expeditable", which="every", of_lane="18")
    dry = api.post("/api/processing/expedite", json=given | {"dryRun": True}).json()
    assert moved(laned) == {}
    wet = api.post("/api/processing/expedite", json=given).json()
    sure = opskit(
        laned.settings, "expedite", "--all", "--lane", "(none)", "--ahead", "3h", "--yes", "--reason", "audit"
    )
    changed = ask_psql(laned.settings, "expedite", which="every", of_lane="18", ahead_seconds="14400")
    both = api.post("/api/processing/expedite", json={"ids": ["1"], "every": True})

    assert names(json.loads(shell.stdout)["files"]) == ["invoice-1", "letter-1", "letter-2"]
    assert (unsure.returncode, "move 3 files of development ahead" in unsure.stderr) == (1, True), unsure.stderr
    assert names(by_psql) == names(changed) == ["Invoice-2"]
    assert (dry["expeditedFiles"], dry["message"]) == (0, "2 files would be moved ahead")
    assert (wet["expeditedFiles"], names(wet["files"])) == (2, names(dry["files"]))
    assert sure.returncode == 0, sure.stderr
    assert "1 file moved ahead (development)" in sure.stdout
    assert both.status_code == 400
    assert moved(laned) == {"letter-1": 2.0, "letter-2": 2.0, "invoice-3": 3.0, "Invoice-2": 4.0}


def test_where_lanes_are_off_every_file_is_without_one_and_gets_its_head_start_so(db: Database) -> None:
    (id,) = files(db, "a")
    given = {
        "which": "every",
        "ids": [],
        "search": "",
        "row_limit": 9,
        "ahead_seconds": 60,
        "actor": "me",
        "reason": "",
    }

    assert db.run("expedite", of_lane="queued", **given) == []
    assert [one["id"] for one in db.run("expedite", of_lane="(none)", **given)] == [id]
