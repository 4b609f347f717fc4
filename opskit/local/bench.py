"""`opskit bench`: what this database can do for nodes, measured in a scratch schema that is dropped afterwards.

One claim after another over one connection says what a file costs and what it waits for: the network, the commit, or
the server's work. Real nodes, more and more of them, say how many files a second the database takes altogether.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from opskit import migration
from opskit.database import Database
from opskit.database.scratch import temporary_schema
from opskit.database.session import Connection
from opskit.errors import OpskitError, SettingError
from opskit.files.claimed import ClaimedFile
from opskit.local.nodes import fill, start_node
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from opskit.support import wording

FILE_MILLISECONDS = (10.0, 100.0, 1000.0, 10_000.0)
_LONGEST_SECONDS = 110.0
_LEAST_FILES, _MOST_FILES = 2_000, 200_000
_GAIN = 1.1  # twice the nodes that do not bring a tenth more: the database, or this machine, is at its end
Say = Callable[[str], None]


def nothing(file: ClaimedFile) -> None:
    """The processor that is measured: does nothing."""


def bench(
    settings: Settings,
    *,
    nodes: int = 8,
    seconds: float = 30.0,
    file_ms: float | None = None,
    on_line: Say = lambda _: None,
) -> dict[str, Any]:
    """Measure a database, in a scratch schema that is dropped afterwards.

    Args:
        settings: Whose database. Its tables are not touched; it is under load meanwhile.
        nodes: Most nodes that are started at once on this machine.
        seconds: How long it may take, about [s]; at most 110.
        file_ms: How long a file takes [ms]. Defaults to a table of 10, 100, 1000 and 10,000.
        on_line: Called with a line for each part.

    Returns:
        "round_trip_ms", "commit_ms", "server_ms" (parts of a claim, p50), "claim_ms" (p50 and p99 of completing one
        file and claiming the next), "rates" (nodes and files_per_second), "feeds" (file_ms and how many nodes the
        database can feed), "limits" (one sentence each), "synchronous" (how a commit is made safe), "seconds".

    Raises:
        SettingError: The database is reached through a pooler, or a number is out of range.
        DatabaseError: This role may not create a schema.
    """
    if not 1 <= nodes <= 100:
        raise SettingError(f"--nodes is {nodes}; it must be between 1 and 100")
    if not 2 <= seconds <= _LONGEST_SECONDS:
        raise SettingError(f"--seconds is {seconds:g}; it must be between 2 and {_LONGEST_SECONDS:g}")
    if file_ms is not None and not 0 <= file_ms < math.inf:
        raise SettingError(f"--file-ms is {file_ms:g}; it must be a number of 0 or more")
    began = time.monotonic()
    counts = [1]
    while counts[-1] * 2 <= nodes:
        counts.append(counts[-1] * 2)
    each = seconds / (len(counts) + 3)
    with (
        temporary_schema(settings, "bench", poll_seconds=0.2, processor="opskit.local.bench:nothing") as own,
        Database(own) as db,
    ):
        migration.migrate(db)
        with Database(own, pooled=False, node=True) as mine:
            parts = _parts(mine, each, on_line)
        rates = _rates(db, counts, each, _files(parts["claim_ms"]["p50"], each), on_line)
        synchronous = _synchronous(db)
    most = max(rates, key=lambda one: one["files_per_second"])
    feeds = [
        {"file_ms": ms, "nodes": _fed(most["files_per_second"], ms, parts["claim_ms"]["p50"])}
        for ms in ([file_ms] if file_ms is not None else FILE_MILLISECONDS)
    ]
    return {
        **parts,
        "rates": rates,
        "feeds": feeds,
        "limits": _limits(parts, rates, synchronous),
        "synchronous": synchronous,
        "seconds": round(time.monotonic() - began, 1),
    }


def _parts(db: Database, seconds: float, on_line: Say) -> dict[str, Any]:
    """The cost of a claim, and its shares: network, commit and the server's work [ms]."""
    on_line("one connection: round trip, commit, claim")
    with db.connection() as connection:
        connection.execute("CREATE TABLE parts (n integer)")
        connection.execute("INSERT INTO parts VALUES (0)")
        write = "UPDATE parts SET n = n + 1"
        trip = statistics.median(_timed(connection, "SELECT 1", seconds / 6))
        safe = statistics.median(_timed(connection, write, seconds / 6))
        connection.execute("SET synchronous_commit = off")
        unsafe = statistics.median(_timed(connection, write, seconds / 6))
        connection.execute("RESET synchronous_commit")
    fill(db, _LEAST_FILES)
    took = _claims(db, seconds / 2)
    middle = statistics.median(took)
    commit = max(safe - unsafe, 0.0)
    return {
        "round_trip_ms": _ms(trip),
        "commit_ms": _ms(commit),
        "server_ms": _ms(max(middle - trip - commit, 0.0)),
        "claim_ms": {"p50": _ms(middle), "p99": _ms(sorted(took)[int(len(took) * 0.99)])},
    }


def _timed(connection: Connection, statement: str, seconds: float) -> list[float]:
    text = statement.encode()
    took: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(took) < 5:
        began = time.perf_counter()
        connection.execute(text)
        took.append(time.perf_counter() - began)
    return took


def _claims(db: Database, seconds: float) -> list[float]:
    """One node's claims as its child makes them, one after another [s]."""
    node = nodes.register(db, "bench-hand", str(uuid.uuid4()))
    assert node is not None  # nobody else is in the scratch schema
    answer: claims.Answer | None = claims.claim(db, node)
    took: list[float] = []
    end = time.monotonic() + seconds
    while answer and answer.row and (time.monotonic() < end or len(took) < 20):
        token, began = claims.new_token(), time.perf_counter()
        answer = claims.complete_and_claim(
            db, node, id=answer.row["id"], done_token=answer.token, result=None, after=answer.cursor, token=token
        )
        took.append(time.perf_counter() - began)
        if len(took) % claims.CLAIMS_PER_EPOCH == 0:
            node = _next_epoch(db, node)
    if answer and answer.row:
        claims.release(db, id=answer.row["id"], token=answer.token, reason="measured", actor="bench")
    nodes.deregister(db, node, "measured")
    return took


def _next_epoch(db: Database, node: Boot) -> Boot:
    """As the child does it between files; a claim in hand keeps the epoch it was made under."""
    epoch = nodes.advance(db, node)
    assert epoch is not None
    node.epoch = epoch
    return node


def _files(claim_ms: float, seconds: float) -> int:
    """As many files as the nodes may take in the time given, and more."""
    return int(min(_MOST_FILES, max(_LEAST_FILES, 8 * seconds * 1000 / claim_ms)))


def _rates(db: Database, counts: Sequence[int], seconds: float, files: int, on_line: Say) -> list[dict[str, Any]]:
    """Files a second of more and more nodes, until more of them bring nothing."""
    rates: list[dict[str, Any]] = []
    ours = _sessions(db)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for count in counts:
            running += [start_node(db, f"bench-{n}", subprocess.DEVNULL) for n in range(len(running), count)]
            _until(lambda least=ours + 2 * count: _sessions(db) >= least)  # type: ignore[misc]  # mypy: a default
            fill(db, files)
            time.sleep(0.2)
            before, idle, began = _count(db, "files", "processing_status = 'completed'"), _idle(), time.monotonic()
            while time.monotonic() - began < seconds and not _empty(db):
                time.sleep(0.1)
            took, idle = time.monotonic() - began, _idle() - idle
            rate = (_count(db, "files", "processing_status = 'completed'") - before) / took
            on_line(f"{wording.count(count, 'node')}: {rate:,.0f} files/s")
            rates.append(
                {
                    "nodes": count,
                    "files_per_second": round(rate),
                    "this_machine_idle": round(min(1.0, idle / took / (os.cpu_count() or 1)), 2),
                }
            )
            _clear(db)
            if len(rates) > 1 and rate < _GAIN * rates[-2]["files_per_second"]:
                break
    finally:
        for one in running:
            one.send_signal(signal.SIGKILL)
            one.wait()
    return rates


def _count(db: Database, table: str, condition: str) -> int:
    with db.connection() as connection:
        query = f"SELECT count(*) AS n FROM {db.names[table]} WHERE {condition}"
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row["n"])


def _sessions(db: Database) -> int:
    """Sessions on the scratch schema: each node has two, the second when its child is about to claim."""
    with db.connection() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = current_setting('application_name')"
        ).fetchone()
    assert row is not None
    return int(row["n"])


def _empty(db: Database) -> bool:
    return not _count(db, "files", "processing_status = 'queued'")


def _clear(db: Database) -> None:
    """The rest of the queue away: the next round begins like the last."""
    with db.connection() as connection:
        connection.execute(b"DELETE FROM " + db.settings.files.encode() + b" WHERE processing_status = 'queued'")


def _idle() -> float:
    """Seconds that the processors of this machine have been idle, all together; 0 where nobody says."""
    try:
        with open("/proc/stat") as stat:
            words = stat.readline().split()
    except OSError:
        return 0.0
    return (int(words[4]) + int(words[5])) / os.sysconf("SC_CLK_TCK")


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise OpskitError(f"the nodes that are measured did not start within {seconds:g} s; is this machine busy?")
        time.sleep(0.05)


def _fed(files_per_second: float, file_ms: float, claim_ms: float) -> int:
    """How many nodes are busy all the time: each takes a file every (its work + a claim)."""
    return max(1, round(files_per_second * (file_ms + claim_ms) / 1000))


def _synchronous(db: Database) -> str:
    with db.connection() as connection:
        row = connection.execute(
            "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,"
            " current_setting('synchronous_standby_names') AS standbys"
        ).fetchone()
    assert row is not None
    if row["fsync"] == "off" or row["commit"] == "off":
        return "off: a crash may lose the last commits"
    return f"this server's disk and {row['standbys']}" if row["standbys"] else "this server's disk"


def _limits(parts: dict[str, Any], rates: list[dict[str, Any]], synchronous: str) -> list[str]:
    """The limit of one node, and that of many."""
    whole = parts["claim_ms"]["p50"]
    what = {
        "the network round trip: bring the nodes nearer to the database": parts["round_trip_ms"],
        f"the commit ({synchronous}): a faster disk or standby would help": parts["commit_ms"],
        "the server's work: a faster processor would help": parts["server_ms"],
    }
    most = max(what, key=lambda name: what[name])
    said = [f"one node waits for {most} ({what[most]:g} of {whole:g} ms)"]
    last = rates[-1]
    nodes = wording.count(last["nodes"], "node")
    if len(rates) > 1 and last["files_per_second"] < _GAIN * rates[-2]["files_per_second"]:
        if last["this_machine_idle"] < 0.1:
            said.append(f"{nodes}: the processors of this machine are busy; nodes elsewhere may bring more")
        else:
            said.append(f"{nodes}: the server is at its end (processor or disk); more nodes bring nothing")
    else:
        said.append(f"{nodes} did not reach the database's limit: it can feed more than is said here")
    return said


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
