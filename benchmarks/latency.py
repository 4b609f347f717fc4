"""Latency: of a claim under load, of a new file's pick-up by an idle node, and both over a slow network."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import floor
import peers
from bench import (
    HERE,
    Finding,
    Size,
    alone,
    another,
    ask,
    drained,
    empty,
    environ,
    fill,
    free_port,
    nodes,
    one,
    opened,
    quantile,
    settle,
    stamps,
    until,
)

from opskit.database import Database

INSERT = "INSERT INTO dev_uploaded_files (original_filename, processing_status) VALUES (%s, 'queued')"
POLL_SECONDS = 1.0
DELAY_SECONDS = 0.02


def measure(db: Database, size: Size) -> Finding:
    """Claims at 4 nodes, pick-up by one idle node directly and behind PgBouncer, and 20 ms between."""
    finding = Finding()
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "stamps"
        claims(db, size, note, finding)
        pick_up(db, size, note, finding)
        behind_a_pooler(db, size, note, finding)
    over_a_slow_network(db, finding)
    return finding


def claims(db: Database, size: Size, note: Path, finding: Finding) -> None:
    """From one file to the next at 4 nodes, beside the floor's."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(size.rounds):
        empty(db)
        with nodes(db, 4, act="stamp", BENCH_STAMPS=str(note)):
            settle(db)
            fill(db, size.files)
            until(lambda: drained(db))
        mine += stamps(note)
        floor.workers(db.settings.database_url or "", 4, size.files, note)
        theirs += stamps(note)
    for part in (0.5, 0.99):
        ours, floors = quantile(mine, part), quantile(theirs, part)
        finding.goal(
            f"claim latency p{part * 100:.0f}, 4 nodes", "≤ 1.1 × the floor",
            f"{ours * 1e3:.2f} : {floors * 1e3:.2f} ms", ours <= 1.1 * floors, ours / floors,
        )  # fmt: skip


def pick_up(db: Database, size: Size, note: Path, finding: Finding) -> None:
    """From INSERT to the processor's first line, one idle node; the peers beside it."""
    empty(db)
    with nodes(db, act="arrived", BENCH_STAMPS=str(note)):
        arrivals(db, size.arrivals)
    took = stamps(note)
    told(finding, "opskit", took)
    p50, p99 = quantile(took, 0.5) * 1e3, quantile(took, 0.99) * 1e3
    asked, measured = "p50 < 3 ms, p99 < 15 ms", f"{p50:.1f} / {p99:.1f} ms"
    finding.goal("pick-up by an idle node", asked, measured, p50 < 3 and p99 < 15)
    for peer in peers.available():
        url = another(db, f"arrive_{peer.lower()}")
        peers.call(peer, url, "install")
        with opened(url) as place, peers.working(peer, url, 1, BENCH_STAMPS=str(note)):
            peers.call(peer, url, "arrive", size.arrivals // 2, 0.02)
            until(lambda p=place, n=peer: one(p, peers.QUEUED[n]) == 0)  # type: ignore[misc]  # bound at once
        told(finding, peer, stamps(note))


def behind_a_pooler(db: Database, size: Size, note: Path, finding: Finding) -> None:
    """The same behind PgBouncer in transaction mode, which has no LISTEN: by polling."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        finding.table.append({"pick-up": "behind PgBouncer", "p50 [ms]": "no pgbouncer on this machine"})
        return
    empty(db)
    with pgbouncer(program, db.settings.database_url or "") as url, opened(url, poll_seconds=POLL_SECONDS) as pooled:
        running = subprocess.Popen(
            [sys.executable, "-m", "opskit.worker", "--processor", "acts:arrived"],
            env=environ(pooled, NODE_ID="w0", BENCH_STAMPS=str(note)), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: one(db, "SELECT count(*) FROM dev_processing_nodes") == 1)
            time.sleep(3)
            arrivals(db, max(10, size.arrivals // 20), every=POLL_SECONDS / 3.1)
        finally:
            running.terminate()
            running.wait()
    took = stamps(note)
    told(finding, "opskit behind PgBouncer", took)
    slowest = max(took)
    finding.goal(
        "pick-up behind PgBouncer", f"< the poll interval, {POLL_SECONDS:g} s (+ 20 % jitter)",
        f"slowest {slowest:.2f} s", slowest < 1.2 * POLL_SECONDS + 0.1, slowest / POLL_SECONDS,
    )  # fmt: skip


def over_a_slow_network(db: Database, finding: Finding) -> None:
    """A proxy that holds every byte back for 10 ms each way: a file must take one round trip."""
    empty(db)
    files = 200
    with slow(db.settings.database_url or "") as url, opened(url) as far, nodes(far):
        fill(db, files)
        until(lambda: drained(db))
    rate = float(
        one(db, "SELECT (count(*) - 1) / extract(epoch FROM max(processing_started_at) - min(processing_started_at)) "
                "FROM dev_uploaded_files")
    )  # fmt: skip
    trips = 1 / rate / DELAY_SECONDS
    finding.goal(
        "20 ms between node and database", "one round trip a file", f"{rate:.1f} files/s, {trips:.2f} round trips",
        trips < 1.2, trips,
    )  # fmt: skip


def arrivals(db: Database, count: int, every: float = 0.02) -> None:
    """Insert files one by one, each when the one before is done."""
    for _ in range(count):
        ask(db, INSERT, str(time.time_ns()))
        time.sleep(every)
    until(lambda: drained(db), every=0.02)


def told(finding: Finding, what: str, took: list[float]) -> None:
    finding.table.append(
        {
            "pick-up": what,
            "p50 [ms]": round(quantile(took, 0.5) * 1e3, 1),
            "p99 [ms]": round(quantile(took, 0.99) * 1e3, 1),
            "files": len(took),
        }
    )


@contextlib.contextmanager
def pgbouncer(program: str, url: str) -> Iterator[str]:
    """A pooler in transaction mode before a database; its URL."""
    parts, port = urlsplit(url), free_port()
    with tempfile.TemporaryDirectory(prefix="opskit-bench-") as folder:
        place = Path(folder)
        (place / "users").write_text(f'"{parts.username}" "{parts.password}"\n')
        (place / "pgbouncer.ini").write_text(
            f"""[databases]
* = host={parts.hostname} port={parts.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {place / "users"}
pool_mode = transaction
"""
        )
        place.chmod(0o755)
        for file in place.iterdir():
            file.chmod(0o644)
        account = ["-u", "nobody"] if os.geteuid() == 0 else []
        running = subprocess.Popen([program, "-q", *account, str(place / "pgbouncer.ini")], stderr=subprocess.DEVNULL)
        try:
            time.sleep(1)
            yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}"
        finally:
            running.terminate()
            running.wait()


@contextlib.contextmanager
def slow(url: str) -> Iterator[str]:
    """A proxy before a database that holds everything back; its URL."""
    parts, port = urlsplit(url), free_port()
    command = [sys.executable, str(HERE / "delay.py"), str(port), str(parts.port), str(DELAY_SECONDS / 2)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert running.stdout is not None
        running.stdout.readline()
        yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{port}{parts.path}?sslmode=disable"
    finally:
        running.terminate()
        running.communicate()


if __name__ == "__main__":
    alone("latency", measure, __doc__)
