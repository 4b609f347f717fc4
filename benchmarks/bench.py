"""What the benchmarks share: a server of their own, workers of every kind, and how a finding is told.

Each program measures one subject: `measure(db, size)` answers a Finding, with a row for each goal. All of them run
on one server after another (`all.py`), or one alone: `python drain.py --quick`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from opskit import migration
from opskit.database import Database, embedded, programs
from opskit.settings import Settings
from opskit.support import console

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
# Everything that makes a commit safe is on; room for ten million rows without a checkpoint every few seconds.
SERVER = {"max_connections": "200", "max_wal_size": "4GB", "shared_buffers": "512MB"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; each is a flag of the programs.

    Attributes:
        rounds: Interleaved rounds, whose median counts.
        files: Files that are drained in one round.
        jobs: The same for the peers, which are slower.
        finished: Finished rows of the large table.
        queued: Rows of the long queue.
        pinned: Files drained under a pinned xmin.
        rows: Rows that are enqueued.
        megabytes: Size of the CSV file that is loaded [MB].
        seconds: How long an idle node is watched [s].
        arrivals: Files that are inserted one by one, to see how soon they are picked up.
    """

    rounds: int = 5
    files: int = 10_000
    jobs: int = 2_000
    finished: int = 10_000_000
    queued: int = 1_000_000
    pinned: int = 50_000
    rows: int = 100_000
    megabytes: int = 1_000
    seconds: float = 60.0
    arrivals: int = 500


QUICK = Size(
    rounds=1, files=3_000, jobs=400, finished=200_000, queued=50_000, pinned=5_000, rows=20_000, megabytes=50,
    seconds=10.0, arrivals=100,
)  # fmt: skip


@dataclass(slots=True)
class Finding:
    """What one program found.

    Attributes:
        goals: A row for each goal: what it asks, what was measured, the ratio, whether it is met.
        table: The figures behind them.
        curves: Name and points of each line of the picture, if there is one.
        axes: What the picture's axes mean.
    """

    goals: list[dict[str, Any]] = field(default_factory=list)
    table: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    axes: tuple[str, str] = ("", "")

    def goal(self, what: str, asked: str, measured: str, met: bool, ratio: float | None = None) -> None:
        """Add a goal, and whether it is met."""
        self.goals.append(
            {
                "what": what,
                "goal": asked,
                "measured": measured,
                "ratio": None if ratio is None else round(ratio, 2),
                "met": "met" if met else "MISSED",
            }
        )


Measure = Callable[[Database, Size], Finding]


# -- a server ------------------------------------------------------------------------------------


@contextlib.contextmanager
def database() -> Iterator[Database]:
    """An embedded server with everything that makes a commit safe, in a folder of its own; migrated."""
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell has had Ctrl-C ignored: nothing is left behind
        signal.signal(number, lambda *_: sys.exit(1))
    home = Path(tempfile.mkdtemp(prefix="opskit-bench-", dir=os.environ.get("BENCH_DIR")))
    settings = Settings.load({}, home=str(home), pg_port=20433)
    try:
        with opened(embedded.start(settings, SERVER), home=str(home)) as db:
            yield db
    finally:
        embedded.stop(settings)
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def opened(url: str, **changes: Any) -> Iterator[Database]:
    """A migrated database at a URL. Nodes that do nothing fail nothing: no quarantine."""
    with Database(Settings.load({}, database_url=url, quarantine_after=0, **changes)) as db:
        migration.migrate(db)
        yield db


def another(db: Database, name: str) -> str:
    """The URL of another, empty database on the same server."""
    url = db.settings.database_url or ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return url.rpartition("/")[0] + "/" + name


def ask(db: Database, query: str, *values: Any) -> list[dict[str, Any]]:
    """Any statement; its rows. %s stands for values, a literal % is doubled where there are any."""
    with db.connection() as connection:
        cursor = connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def one(db: Database, query: str, *values: Any) -> Any:
    """The one value that a statement answers."""
    return next(iter(ask(db, query, *values)[0].values()))


def empty(db: Database) -> None:
    """No files, nodes and events."""
    ask(db, "TRUNCATE dev_uploaded_files, dev_processing_nodes, dev_processing_events, dev_processing_pauses")


def fill(db: Database, count: int) -> None:
    """Queue so many files by one INSERT; waiting nodes wake."""
    ask(
        db,
        "INSERT INTO dev_uploaded_files (original_filename, processing_status) "
        f"SELECT 'f' || n, 'queued' FROM generate_series(1, {count}) AS n",
    )


def finished(db: Database, count: int) -> None:
    """Make it so many finished rows and nothing else: fifty servers, one in a hundred failed, over ninety days."""
    have = one(db, "SELECT count(*) FROM dev_uploaded_files WHERE processing_status = 'completed'")
    if have >= 0.98 * count and have <= count:
        ask(db, "DELETE FROM dev_uploaded_files WHERE processing_status IN ('queued', 'processing')")
        return
    empty(db)
    ask(
        db,
        f"""INSERT INTO dev_uploaded_files (original_filename, file_size, processing_status, processing_server_id,
                processing_queued_at, processing_started_at, processing_completed_at, processing_errors,
                processing_attempt)
            SELECT 'file-' || n || '.csv', n, CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'completed' END,
                   'node-' || n % 50, ended - interval '3 min', ended - interval '2 min', ended,
                   CASE WHEN n % 100 = 0 THEN 'ValueError: line ' || n || ' is bad' END, 1
              FROM (SELECT n, now() - n * interval '90 days' / {count} AS ended
                      FROM generate_series(1, {count}) AS n) AS f""",
    )
    ask(db, "VACUUM (ANALYZE) dev_uploaded_files")


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as one_socket:
        one_socket.bind(("127.0.0.1", 0))
        return int(one_socket.getsockname()[1])


def settle(db: Database) -> None:
    """What was written before must not be flushed during what is measured next."""
    ask(db, "CHECKPOINT")


# -- workers -------------------------------------------------------------------------------------


def environ(db: Database, **more: str) -> dict[str, str]:
    """The environment of a node under measurement."""
    return {**os.environ, **db.settings.environ(), "PYTHONPATH": str(HERE), **more}


@contextlib.contextmanager
def nodes(
    db: Database, count: int = 1, *flags: str, act: str = "nothing", log: Any = subprocess.DEVNULL, **more: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many nodes of opskit, up and waiting; asked to stop at the end."""
    command = [sys.executable, "-m", "opskit.worker", *flags, "--processor", act if ":" in act else f"acts:{act}"]
    running = [
        subprocess.Popen(command, env=environ(db, NODE_ID=f"w{n}", **more), stderr=log, stdin=subprocess.DEVNULL)
        for n in range(count)
    ]
    try:
        until(lambda: _waiting(db) >= count or any(one.poll() is not None for one in running))
        yield running
    finally:
        stop(running)


def _waiting(db: Database) -> int:
    """How many children have asked for a file and have none: their last statement was a claim."""
    return int(
        one(
            db,
            """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name ~ '^opskit .* w[0-9]+$' AND state = 'idle'
                  AND query !~ '^(SET|SELECT)'""",
        )
    )


def stop(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGTERM, and wait."""
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], Any], seconds: float = 600.0, every: float = 0.1) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(every)


def drained(db: Database) -> bool:
    """Whether nothing waits and nothing is in work: told by the indexes, for it is asked while others are measured."""
    return not ask(
        db,
        "(SELECT 1 FROM dev_uploaded_files WHERE processing_status = 'queued' AND deleted IS NOT TRUE LIMIT 1) "
        "UNION ALL (SELECT 1 FROM dev_uploaded_files WHERE processing_status = 'processing' LIMIT 1)",
    )


# From the moment a tenth of them is done to the moment nine tenths are: without start and stragglers.
RATE = """
    SELECT 0.8 * count(*) / extract(epoch FROM percentile_disc(0.9) WITHIN GROUP (ORDER BY ended)
                                             - percentile_disc(0.1) WITHIN GROUP (ORDER BY ended)) AS rate
      FROM ({}) AS f"""
ENDED = "SELECT processing_completed_at AS ended FROM dev_uploaded_files WHERE processing_server_id LIKE 'w%'"


def drain(db: Database, count: int, files: int, **more: Any) -> float:
    """Files per second of so many nodes, which wait when the files come."""
    with nodes(db, count, **more):
        settle(db)
        fill(db, files)
        until(lambda: drained(db))
    return float(one(db, RATE.format(ENDED)))


# -- telling -------------------------------------------------------------------------------------


def median_of(rounds: int, cases: dict[Any, Callable[[], float]], warm: bool = True) -> dict[Any, float]:
    """Medians of interleaved rounds; the first round is for the caches and does not count."""
    found: dict[Any, list[float]] = {case: [] for case in cases}
    for number in range(rounds + warm):
        for case, measured in cases.items():
            value = measured()
            if number >= warm:
                found[case].append(value)
    return {case: statistics.median(values) for case, values in found.items()}


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which this part of them lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def stamps(path: Path) -> list[float]:
    """The seconds that nodes have noted under a path."""
    found = [float(line) for one in path.parent.glob(f"{path.name}*") for line in one.read_text().split()]
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    return found


def tell(name: str, rows: list[dict[str, Any]]) -> None:
    """Print a table and write it as JSON beside the program."""
    console.table(rows, title=name)
    write(name, {"rows": rows})


def write(name: str, content: dict[str, Any]) -> Path:
    """Write figures as JSON, with machine and time."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    target.write_text(json.dumps({**machine(), **content}, indent=1, default=str) + "\n")
    return target


def machine() -> dict[str, Any]:
    """When and where."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "postgresql": subprocess.run(
            [programs.find_binaries(Settings.load({})) / "postgres", "-V"], capture_output=True, text=True, check=True
        ).stdout.split()[2],
    }


def commit() -> str:
    """The commit that is measured; marked when the tree differs from it in more than figures."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = [line for line in git("status", "--porcelain").splitlines() if "benchmarks/results/" not in line]
    return f"{git('rev-parse', '--short', 'HEAD')}{'+' if changed else ''}"


def sizes(description: str | None, subjects: Iterable[str] = ()) -> tuple[argparse.Namespace, Size]:
    """What a command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes: about three minutes for all")
    if subjects:
        parser.add_argument("--subjects", nargs="+", choices=[*subjects], help="only these; others stay as they are")
    for one_field in dataclasses.fields(Size):
        kind = float if one_field.name == "seconds" else int
        parser.add_argument(f"--{one_field.name}", type=kind, metavar="N")
    given = parser.parse_args()
    size = QUICK if given.quick else Size()
    changed = {f.name: value for f in dataclasses.fields(Size) if (value := getattr(given, f.name)) is not None}
    return given, dataclasses.replace(size, **changed)


def show_finding(name: str, finding: Finding) -> None:
    """Print what was found."""
    for _, alike in itertools.groupby(finding.table, key=list):
        console.table(alike, title=name)
    console.table(finding.goals)


def alone(name: str, measure: Measure, description: str | None) -> None:
    """Run one program by itself."""
    _, size = sizes(description)
    with database() as db:
        show_finding(name, measure(db, size))
