"""A disk is full for a while: the one with the data, or the one with the log."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit import migration
from opskit.database import Database
from tests.faults.conftest import settings_for
from tests.support.cluster import Cluster, own_folder, running_cluster
from tests.support.nodes import Node, add_many, ask, counts, record, running_nodes
from tests.support.waiting import AWAY, drained, eventually, prove, reasons

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")]


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of so many megabytes."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "opskit-faults", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte; answers the file to remove."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return ballast


@contextlib.contextmanager
def at_work(cluster: Cluster, url: str, folder: Path, files: int) -> Iterator[tuple[Database, list[Node]]]:
    """Two nodes at work on a database."""
    with Database(settings_for(url, folder)) as db:
        migration.migrate(db)
        record(db)
        add_many(db, files)
        with running_nodes(db, folder) as start:
            nodes = [start(f"node-{n}", act="effect", ACT_SECONDS="0.01") for n in range(2)]
            eventually(lambda: counts(db).get("completed", 0) >= 20)
            yield db, nodes


def test_nodes_wait_while_the_data_disk_is_full_and_lose_nothing(tmp_path: Path) -> None:
    with running_cluster() as cluster, own_folder() as folder, small_disk(folder / "small", 32) as disk:
        place = disk / "space"
        place.mkdir()
        shutil.chown(place, cluster.data.owner())
        cluster.ask(f"CREATE TABLESPACE small LOCATION '{place}'")
        cluster.ask("CREATE DATABASE faults TABLESPACE small")

        with at_work(cluster, cluster.url.rpartition("/")[0] + "/faults", tmp_path, 2000) as (db, nodes):
            ballast = fill(disk)
            eventually(lambda: all("could not extend" in node.log for node in nodes), 30, "a full disk")
            time.sleep(2)
            ballast.unlink()
            drained(db, 2000, 60, *nodes)

            prove(db, 2000)
            for node in nodes:
                assert len(node.log.splitlines()) < 60, node.log
            told = {reason.splitlines()[-1] for _, reason in reasons(db)}
            assert all("No space left" in reason or "could not" in reason for reason in told), told


def test_nodes_outlive_a_server_that_ends_because_its_log_disk_is_full(tmp_path: Path) -> None:
    with running_cluster() as cluster, own_folder() as folder, small_disk(folder / "small", 80) as disk:
        url = cluster.create_database()
        log = cluster.data / "pg_wal"
        cluster.pg_ctl("stop", "-m", "fast", "-w")
        subprocess.run(["cp", "-a", str(log), str(disk)], check=True)
        shutil.rmtree(log)
        log.symlink_to(disk / "pg_wal")
        cluster.start()

        with at_work(cluster, url, tmp_path, 600) as (db, nodes):
            ballast = fill(disk)
            # A new segment finds no room: the server ends in a panic.
            with contextlib.suppress(*AWAY):
                for _ in range(20):
                    cluster.ask("SELECT pg_switch_wal()")
                    ask(db, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000000))")
            eventually(
                lambda: all("going on as soon as it answers" in node.log for node in nodes), 30, "the server's end"
            )
            time.sleep(1)
            ballast.unlink()
            eventually(lambda: cluster.start(), 20, "its return")
            drained(db, 600, 60, *nodes)

            prove(db, 600)
            assert [node.process.poll() for node in nodes] == [None, None]
