"""Who is at fault: nodes as README starts them, with bad files and sick machines. Real time, real disks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support.nodes import Node, ask, running_nodes, until
from tests.support.pages import DOCS, of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Start = Callable[..., Node]
LATIN = b"name;sum\nM\xfcller;1\n"
GOOD = b"name;sum\nMiller;1\n"
PATIENCE = float(os.environ.get("BLAME_SECONDS", "30"))

HALF = """
def process(file):
    if int(file.id) % 2:
        raise KeyError("column amount is missing")
"""
WRITER = """
import os, pathlib, time
def process(file):
    time.sleep(0.05)
    place = pathlib.Path(os.environ["SCRATCH"]) / f"{file.token}.out"
    try:
        place.write_bytes(b"x" * 50_000)
    finally:
        place.unlink(missing_ok=True)
"""


@pytest.fixture
def plain(db: Database) -> Iterator[Database]:
    """The database, with the settings that a node has by default."""
    defaults = {each.name: each.default for each in dataclasses.fields(db.settings)}
    kept = {"database_url", "env", "home"}
    with Database(
        dataclasses.replace(db.settings, **{name: value for name, value in defaults.items() if name not in kept})  # type: ignore[arg-type]
    ) as own:
        yield own


@pytest.fixture
def start(plain: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node with default settings, whose processors lie in the test's own folder."""
    (tmp_path / "ledger.py").write_text(
        next(block.text for block in of(DOCS / "howto" / "processor.md", "python") if "# ledger.py" in block.text)
    )
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "writer.py").write_text(WRITER)
    with running_nodes(plain, tmp_path) as begin:
        yield lambda name, **given: begin(name, **{"PYTHONPATH": str(tmp_path), **given})


def put(db: Database, folder: Path, name: str, content: bytes) -> None:
    """Store a file and queue it, as the application does."""
    (folder / name).write_bytes(content)
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, storage_path, processing_status) "
        "VALUES (%s, %s, 'queued')",
        name,
        str(folder / name),
    )


def statuses(db: Database, like: str) -> dict[str, int]:
    """Files of some name, by state."""
    query = f"SELECT processing_status AS s, count(*) AS n FROM {db.settings.files} WHERE original_filename LIKE %s"
    return {row["s"]: row["n"] for row in ask(db, query + " GROUP BY 1", like)}


def states(db: Database) -> dict[str, str]:
    """What each node is told to do."""
    return {row["server_id"]: row["state"] for row in ask(db, f"SELECT server_id, state FROM {db.names['nodes']}")}


def awake(db: Database, count: int) -> None:
    """Wait until so many nodes are ready to claim."""
    until(lambda: len(db.run("ready_nodes", env=db.settings.env)) == count, 60, "the nodes' start")


def test_twenty_files_in_latin_1_among_sixty_good_ones_stop_no_node(
    plain: Database, start: Start, tmp_path: Path
) -> None:
    for name in "abc":
        start(name, act="ledger:process")
    awake(plain, 3)
    began = time.monotonic()
    for wave in range(4):
        for number in range(15):
            if number % 3 == 0:
                put(plain, tmp_path, f"latin-{wave}-{number}.csv", LATIN)
            put(plain, tmp_path, f"good-{wave}-{number}.csv", GOOD)
        time.sleep(1.5)

    until(
        lambda: statuses(plain, "good%") == {"completed": 60}, PATIENCE - (time.monotonic() - began), "all good files"
    )
    until(lambda: statuses(plain, "latin%") == {"failed": 20}, 90, "the end of the bad files")

    assert list(states(plain).values()).count("active") >= 2
    reasons = ask(
        plain, f"SELECT processing_errors AS e FROM {plain.settings.files} WHERE processing_status = 'failed'"
    )
    assert all("UnicodeDecodeError" in row["e"] for row in reasons)


def test_two_hundred_bad_files_before_sixty_good_ones_keep_these_waiting_for_seconds(
    plain: Database, start: Start, tmp_path: Path
) -> None:
    for number in range(200):
        put(plain, tmp_path, f"latin-{number}.csv", LATIN)
    for number in range(60):
        put(plain, tmp_path, f"good-{number}.csv", GOOD)
    for name in "abc":
        start(name, act="ledger:process")
    awake(plain, 3)

    until(lambda: statuses(plain, "good%") == {"completed": 60}, PATIENCE, "all good files")

    assert set(states(plain).values()) == {"active"}
    with contextlib.suppress(AssertionError):
        until(lambda: statuses(plain, "latin%") == {"failed": 200})
    assert list(states(plain).values()).count("active") >= 2


def test_a_processor_that_raises_for_half_of_the_files_stops_no_node(
    plain: Database, start: Start, tmp_path: Path
) -> None:
    for name in "abc":
        start(name, act="half:process")
    awake(plain, 3)
    for number in range(120):
        put(plain, tmp_path, f"file-{number}.csv", GOOD)

    until(lambda: statuses(plain, "file%").get("completed") == 60, PATIENCE, "all good files")
    until(lambda: statuses(plain, "file%") == {"completed": 60, "failed": 60}, 100, "the end of the bad files")

    assert list(states(plain).values()).count("active") >= 2


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[tuple[list[str], Callable[[], None], Callable[[], None]]]:
    """A disk of 64 kB: what to start a program with so that it sees it, how to fill it, how to make room.

    Root mounts it. Anybody else mounts it in a namespace of the program's own, and reaches it through /proc.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "opskit-small", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield [], lambda: fill(folder), lambda: (folder / "ballast").unlink()
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    unshare = shutil.which("unshare")
    inside = [unshare or "", "-Urm", "sh"]
    tried = [*inside, "-c", " ".join(mount)]
    if unshare is None or subprocess.run(tried, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here: neither as root nor in a namespace of one's own")
    told = folder.parent / "namespace"
    holder = subprocess.Popen([*inside, "-c", f"{' '.join(mount)} && echo $$ > {told} && exec sleep 600"])
    try:
        until(lambda: told.exists() and told.read_text().strip())
        enter = [shutil.which("nsenter") or "nsenter", "-U", "-m", "--preserve-credentials", "-t", str(holder.pid)]
        place = Path(f"/proc/{holder.pid}/root{folder}")
        yield enter, lambda: fill(place), lambda: (place / "ballast").unlink()
    finally:
        holder.kill()
        holder.wait()


def fill(disk: Path) -> None:
    """Fill a disk to its last byte."""
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


def test_a_node_whose_disk_is_full_is_quarantined_alone_and_comes_back_when_there_is_room(
    db: Database, tmp_path: Path
) -> None:
    (tmp_path / "writer.py").write_text(WRITER)
    roomy = tmp_path / "roomy"
    roomy.mkdir()
    policy = db.settings.environ() | {
        "OPSKIT_PROCESSOR": "writer:process", "PYTHONPATH": str(tmp_path), "OPSKIT_MAX_FAILURES": "10",
    }  # fmt: skip
    with small_disk(tmp_path / "small") as (enter, fill_it, make_room), contextlib.ExitStack() as stack:
        fill_it()

        def node(name: str, place: Path, *prefix: str) -> None:
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "opskit.worker"],
                env={**os.environ, **policy, "NODE_ID": name, "SCRATCH": str(place)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)

        for name in ("b", "c"):
            node(name, roomy)
        node("full", tmp_path / "small", *enter)
        awake(db, 3)

        def feed() -> dict[str, str]:
            queued = ask(db, f"SELECT count(*) AS n FROM {db.settings.files} WHERE processing_status = 'queued'")
            for number in range(20 - queued[0]["n"]):
                put(db, tmp_path, f"file-{time.monotonic_ns()}-{number}.csv", GOOD)
            time.sleep(0.1)
            return states(db)

        until(lambda: feed()["full"] == "quarantined", 90, "the quarantine")
        assert feed() == {"full": "quarantined", "b": "active", "c": "active"}
        event = db.run("events", file_id="", kind="state", row_limit=1)[0]
        assert "No space left on device" in event["reason"]

        # A probe on a disk that is still full changes nothing; one with room ends it. Its pause is shortened, in SQL.
        due = f"UPDATE {db.names['nodes']} SET probe_at = now() WHERE server_id = 'full' RETURNING probe_seconds AS s"
        pause = f"SELECT probe_seconds AS s FROM {db.names['nodes']} WHERE server_id = 'full'"
        (before,) = ask(db, due)
        until(lambda: feed() and ask(db, pause)[0]["s"] > before["s"], 30, "a probe")
        assert feed()["full"] == "quarantined"
        make_room()
        ask(db, due)
        until(lambda: feed()["full"] == "active", 60, "the way back")

        own = (
            f"SELECT count(*) AS n FROM {db.settings.files} WHERE processing_status = 'completed' "
            "AND processing_server_id = 'full'"
        )
        until(lambda: feed() and ask(db, own)[0]["n"] > 1, 30, "work of the node that is back")
        assert set(feed().values()) == {"active"}
        until(lambda: not statuses(db, "file%").keys() - {"completed"}, 60, "the end of all files")
