"""`opskit up`: the main job on real files, and what it says when it cannot."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from opskit import migration
from opskit.database import Database, embedded
from opskit.local.samples import SAMPLES
from opskit.settings import Settings
from tests.support import python_programs
from tests.support.nodes import SUPPORT, ask, counts, until

MEGABYTE = 1 << 20


def opskit(*arguments: str, environ: dict[str, str], seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """The command as a user gives it."""
    return python_programs.run(
        [sys.executable, "-m", "opskit", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """200 files of mixed kinds: nested, with spaces and unicode in their names, an empty one, one of 200 MB."""
    root = tmp_path / "incoming"
    (root / "nested" / "deep er").mkdir(parents=True)
    samples = [path for path in sorted(SAMPLES.rglob("*")) if path.is_file()]
    for n in range(198):
        place = (root, root / "nested", root / "nested" / "deep er")[n % 3]
        if samples and n < 2 * len(samples):
            sample = samples[n % len(samples)]
            (place / f"{n} {sample.name}").write_bytes(sample.read_bytes())
        else:
            (place / f"größe {n} — отчёт.csv").write_text("name,value\n" + f"row,{n}\n" * n, encoding="utf-8")
    (root / "empty.txt").touch()
    with (root / "large.csv").open("wb") as large:
        block = (b"0123456789abcdef,some text,42\n" * 40000)[:MEGABYTE]
        for _ in range(200):
            large.write(block)
    return root


@pytest.mark.slow
def test_two_hundred_real_files_are_each_completed_once_by_all_three_nodes_in_little_memory(
    database_url: str, settings: Settings, folder: Path
) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 200

    done = opskit(
        "up", str(folder), "--nodes", "3", "--no-dashboard", "--until-done", "--migrate", "--json",
        environ={"DATABASE_URL": database_url, "NODE_ID": "up", "OPSKIT_HOME": settings.home},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["enqueued"], answer["completed"], answer["failed"]) == (200, 200, 0)
    assert [node["serverId"] for node in answer["nodes"]] == ["up-1", "up-2", "up-3"]
    for node in answer["nodes"]:
        assert node["completed"] > 0
        assert node["supervisorPeakBytes"] + node["childPeakBytes"] < 120 * MEGABYTE, node
    with Database(settings, pooled=False) as db:
        rows = ask(db, "SELECT * FROM dev_uploaded_files")
        assert len(rows) == 200
        assert {row["processing_attempt"] for row in rows} == {1}
        for row in rows:
            with open(row["storage_path"], "rb") as stored:
                assert row["processing_result"]["sha256"] == hashlib.file_digest(stored, "sha256").hexdigest()
        assert db.run("events", file_id="", kind="attempt", row_limit=10) == []


@pytest.mark.slow
def test_up_again_leaves_out_what_is_there_and_a_failure_makes_exit_code_one(db: Database, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fine.txt").write_text("fine")
    environ = {**db.settings.environ(), "NODE_ID": "up", "PYTHONPATH": str(SUPPORT)}
    command = (
        "up",
        str(tmp_path / "in"),
        "--no-dashboard",
        "--until-done",
        "--json",
        "--processor",
        "processors:by_name",
    )
    assert opskit(*command, environ=environ).returncode == 0
    (tmp_path / "in" / "reject-this.txt").write_text("bad")

    done = opskit(*command, environ=environ)

    answer = json.loads(done.stdout)
    assert (done.returncode, answer["enqueued"], answer["completed"], answer["failed"]) == (1, 1, 0, 1)


def test_up_on_a_foreign_database_that_is_not_migrated_says_the_command(database_url: str) -> None:
    done = opskit("up", "--no-dashboard", "--until-done", environ={"DATABASE_URL": database_url})

    assert done.returncode == 1
    assert "opskit migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_with_a_path_that_is_not_there_starts_nothing(db: Database) -> None:
    done = opskit("up", "nowhere", "--no-dashboard", "--until-done", environ=db.settings.environ())

    assert done.returncode == 1
    assert "there is no file or folder 'nowhere'" in done.stderr
    assert db.run("nodes") == []


@pytest.mark.slow
def test_up_without_anything_brings_the_embedded_server_and_the_samples_and_ctrl_c_drains(tmp_path: Path) -> None:
    environ = {"OPSKIT_HOME": str(tmp_path / "home"), "NODE_ID": "up", "OPSKIT_PG_PORT": "19433"}
    settings = Settings.load({}, home=environ["OPSKIT_HOME"], pg_port=19433)
    running = subprocess.Popen(
        [sys.executable, "-m", "opskit", "up", "--no-dashboard", "--json"],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = until(lambda: embedded.url(settings), 30, "the embedded server")
        with Database(Settings.load({}, database_url=url), pooled=False) as db:
            until(lambda: migration.check(db) and list(counts(db)) == ["completed"], 60, "all samples")

        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)

        answer: dict[str, Any] = json.loads(out)
        assert running.returncode == 0, err
        assert answer["failed"] == 0
        assert answer["completed"] == answer["enqueued"] >= 10
        with Database(Settings.load({}, database_url=url), pooled=False) as db:
            assert {row["state"] for row in db.run("nodes")} == {"stopped"}
    finally:
        running.kill()
        running.wait()
        for pipe in (running.stdout, running.stderr):
            if pipe:
                pipe.close()
        embedded.stop(settings)


def test_nodes_end_when_up_is_killed(db: Database) -> None:
    running = python_programs.Program(
        [sys.executable, "-m", "opskit", "up", "--no-dashboard", "--nodes", "2"],
        env={**os.environ, **db.settings.environ(), "NODE_ID": "up"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    until(lambda: len([row for row in db.run("nodes") if row["state"] == "live"]) == 2)

    running.kill()
    running.wait()

    until(lambda: {row["state"] for row in db.run("nodes")} == {"stopped"})
