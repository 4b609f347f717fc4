"""What a notebook shows: a database, a cleanup, frames with units."""

from __future__ import annotations

import dataclasses
import html
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.queue import reaper
from opskit.settings import Settings
from opskit.stats.frames import frame_of
from opskit.support import notebook_output
from tests.support.nodes import add_files, ask


@pytest.mark.slow
def test_the_peak_of_a_small_process_is_its_own_also_below_a_large_one() -> None:
    ballast = bytearray(b"x") * (300 << 20)

    done = subprocess.run(
        [sys.executable, "-c", "from opskit.support.memory import peak_bytes; print(peak_bytes())"],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: None,  # fork and exec, as a launcher without vfork does
    )

    assert len(ballast) > 300_000_000
    assert 5_000_000 < int(done.stdout) < 100_000_000


def test_the_doctors_table_has_its_commands_in_lines(db: Database) -> None:
    queue.pause(db, actor="test")
    ask(db, f"ALTER TABLE {db.settings.files} SET UNLOGGED")

    found = doctor.examine(db)

    assert found == doctor.examine(db, missing=[], queues_new=True)
    told = found._repr_html_()
    assert "\\n" not in told
    assert "<pre " in told
    assert all(html.escape(line) in told for finding in found for line in finding.mend.splitlines())
    assert doctor.Findings()._repr_html_() == "<p>all is well</p>"


# -- what objects look like ------------------------------------------------------------------


def test_a_database_shows_its_environment_and_numbers_and_no_password(settings: Settings) -> None:
    secret = (settings.database_url or "").split(":")[2].split("@")[0]
    with Database(settings) as db:
        unmigrated = db._repr_html_()
        migration.migrate(db)
        add_files(db, "a.csv", "b.csv")
        migrated = db._repr_html_()

    assert len(secret) > 10
    assert secret not in unmigrated + migrated
    assert ">development</b>" in migrated
    assert settings.files in migrated
    assert "not migrated" in unmigrated
    assert "not migrated" not in migrated
    assert "2 queued</span>" in migrated


def test_a_database_that_is_away_is_shown_as_such(settings: Settings) -> None:
    db = Database(dataclasses.replace(settings, database_url="postgresql://me:secret@127.0.0.1:1/x"))

    text = db._repr_html_()

    assert "the database cannot be reached" in text
    assert "secret" not in text
    assert "queued" not in text


def test_a_cleanup_shows_what_it_did(db: Database) -> None:
    row = {
        "original_filename": "<b>.csv",
        "server_id": "node-a",
        "started_at": datetime(2026, 11, 23, 12, tzinfo=UTC),
        "verdict": "dead",
        "outcome": "queued",
        "reason": "silent & gone",
    }

    text = reaper.Cleanup(ended=[row], pending=[row], skipped=["1/x"])._repr_html_()

    assert text.count(">&lt;b&gt;.csv</td>") == 2
    assert "silent &amp; gone" in text
    assert "2026-11-23 12:00:00" in text
    assert "Cleaned up 1 stale processing locks" in text
    assert "1 skipped" in text
    assert reaper.Cleanup([], [], [])._repr_html_() == "<p><b>No stale processing locks found</b></p>"


@pytest.mark.slow
def test_frames_for_people_have_units_and_those_for_programs_do_not(busy: Database) -> None:
    frame = stats.throughput(busy)

    labelled = notebook_output.with_units(frame)

    assert list(frame.columns) == list(stats.THROUGHPUT)
    assert list(labelled.columns) == [
        "bucket_start [UTC]", "processing_status", "processing_server_id", "file_count [files]",
        "mean_wait_seconds [s]", "mean_run_seconds [s]",
    ]  # fmt: skip
    assert (labelled["mean_wait_seconds [s]"] * 1000 % 1).round(6).isin([0, 1]).all()
    for columns in (stats.CONCURRENCY, stats.NODES, stats.FAILURES, stats.STALE):
        empty = frame_of([], columns)
        assert len(notebook_output.with_units(empty).columns) == len(columns)
