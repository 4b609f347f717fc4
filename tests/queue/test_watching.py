"""A watched folder or prefix: each file is queued once, when it has stopped growing, also after a restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import SettingError
from tests.support import python_programs
from tests.support.nodes import ask, until
from tests.support.tables import environ


def paths(db: Database) -> list[str]:
    """What is in the table, by name."""
    return [row["path"] for row in ask(db, f"SELECT storage_path AS path FROM {db.settings.files} ORDER BY 1")]


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """A watched folder."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def bucket() -> Iterator[str]:
    """A store that is no folder."""
    store = fsspec.filesystem("memory")
    yield "memory://incoming"
    if store.exists("/incoming"):
        store.rm("/incoming", recursive=True)


def test_a_file_is_queued_once_when_it_has_stopped_growing(db: Database, incoming: Path) -> None:
    watch = queue.Watch(db, [str(incoming)])
    (incoming / "a.csv").write_text("1\n")

    counts = [watch.look()]
    with (incoming / "a.csv").open("a") as file:
        file.write("2\n")
    counts += [watch.look(), watch.look(), watch.look()]

    assert counts == [0, 0, 1, 0]
    assert paths(db) == [str(incoming / "a.csv")]
    assert ask(db, f"SELECT file_size FROM {db.settings.files}") == [{"file_size": 4}]


def test_neither_a_restart_nor_a_second_watch_queues_a_file_again(db: Database, incoming: Path) -> None:
    (incoming / "a.csv").write_text("1\n")
    first, second = queue.Watch(db, [str(incoming)]), queue.Watch(db, [str(incoming)])

    counts = [watch.look() for watch in (first, second, first, second)]
    again = queue.Watch(db, [str(incoming)])
    counts += [again.look(), again.look()]

    assert counts == [0, 0, 1, 0, 0, 0]
    queue.prune(db, event_days=0)
    ask(db, f"DELETE FROM {db.settings.files}")
    later = queue.Watch(db, [str(incoming)])
    assert [later.look(), later.look()] == [0, 0]


def test_a_file_that_has_changed_is_queued_anew(db: Database, incoming: Path) -> None:
    file = incoming / "a.csv"
    file.write_text("1\n")
    watch = queue.Watch(db, [str(incoming)])
    assert [watch.look(), watch.look()] == [0, 1]

    file.write_text("2\n")
    os.utime(file, ns=(1, 1))

    assert [watch.look(), watch.look(), watch.look()] == [0, 1, 0]


def test_hidden_files_are_left_out_and_files_of_folders_within_are_queued(db: Database, incoming: Path) -> None:
    (incoming / "deep").mkdir()
    (incoming / "deep" / "a.csv").write_text("1\n")
    (incoming / ".b.csv.part").write_text("1\n")
    watch = queue.Watch(db, [str(incoming)], ahead_seconds=60)

    assert [watch.look(), watch.look()] == [0, 1]
    assert paths(db) == [str(incoming / "deep" / "a.csv")]


def test_the_objects_under_a_prefix_are_queued_each_once(db: Database, bucket: str) -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/incoming/a.csv": b"1\n", "/incoming/deep/b.csv": b"1\n2\n"})
    watch = queue.Watch(db, [bucket])

    assert [watch.look(), watch.look(), watch.look()] == [0, 2, 0]
    assert paths(db) == ["memory:///incoming/a.csv", "memory:///incoming/deep/b.csv"]


def test_a_prefix_that_ends_with_a_slash_is_listed(db: Database, bucket: str) -> None:
    fsspec.filesystem("memory").pipe({"/incoming/a.csv": b"1\n", "/incoming/b.csv": b"1\n2\n"})

    assert queue.enqueue(db, [bucket + "/"]) == 2
    assert ask(db, f"SELECT original_filename AS name, file_size AS size FROM {db.settings.files} ORDER BY 1") == [
        {"name": "a.csv", "size": 2},
        {"name": "b.csv", "size": 4},
    ]


def test_a_folder_that_is_not_there_is_named(db: Database, incoming: Path) -> None:
    with pytest.raises(SettingError, match="there is no file or folder"):
        queue.Watch(db, [str(incoming / "nosuch")]).look()


def test_a_file_that_cannot_be_queued_is_not_remembered(db: Database, incoming: Path) -> None:
    (incoming / "a.csv").write_text("1\n")
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN kind text NOT NULL CHECK (kind <> '')")
    watch = queue.Watch(db, [str(incoming)])
    watch.look()
    with pytest.raises(SettingError, match="needs a value"):
        watch.look()

    ask(db, f"ALTER TABLE {db.settings.files} DROP COLUMN kind")

    assert watch.look() == 1


def test_the_shell_watches_until_it_is_told_to_stop(db: Database, incoming: Path) -> None:
    (incoming / "a.csv").write_text("1\n")
    words = [sys.executable, "-m", "opskit", "enqueue", "--watch", str(incoming), "--every", "0.2s"]
    with python_programs.Program(words, env=environ(db.settings), stdout=subprocess.PIPE, text=True) as watching:
        until(lambda: len(paths(db)) == 1)
        (incoming / "b.csv").write_text("1\n")
        until(lambda: len(paths(db)) == 2)
        watching.send_signal(signal.SIGTERM)
        said, _ = watching.communicate(timeout=60)

    assert watching.returncode == 0
    assert said.count("1 file queued") == 2
