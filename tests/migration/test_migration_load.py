"""The migration of a large table under the application's constant load: nobody waits for longer than a second.

    ROWS=5000000 pytest -s tests/migration/test_migration_load.py

The server is one of the test's own, on disk, with fsync; the load is pgbench's, and so are the latencies.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit import doctor, migration
from opskit.database import Database, embedded, programs
from opskit.settings import Settings
from tests.support import servers
from tests.support.nodes import ask

ROWS = int(os.environ.get("ROWS", "300000"))
SECONDS = 15 + ROWS // 100_000
"""How long the load goes on [s]: the migration has to fit in."""
BEFORE = 4.0
"""How long before it begins [s]."""
RATE = 400
"""Statements of the application each second, all kinds together."""
LONGEST = 1.0
"""What a statement of the application may take [s]."""

TABLE = "dev_uploaded_files"
PLAIN = f"""
    CREATE TABLE {TABLE} (
        id bigserial PRIMARY KEY,
        owner bigint NOT NULL,
        original_filename text NOT NULL,
        storage_path text,
        processed boolean NOT NULL DEFAULT false,
        uploaded_at timestamp NOT NULL DEFAULT now()
    );
    INSERT INTO {TABLE} (owner, original_filename, storage_path, processed, uploaded_at)
    SELECT n % 1000, 'file-' || n || '.csv', '/srv/uploads/' || md5(n::text), true, now() - (n || ' seconds')::interval
      FROM generate_series({ROWS}, 1, -1) AS n;
    CREATE INDEX ON {TABLE} (owner, uploaded_at);
    ANALYZE {TABLE};
    CHECKPOINT
"""
# An application that kept statuses of its own: every row is in an index of ours from the start.
FINISHED = (
    PLAIN.replace(
        "processed boolean",
        "processing_status text, processing_server_id text, processing_started_at timestamp, "
        "processing_completed_at timestamp, processed boolean",
    )
    .replace("processed, uploaded_at)", "processed, uploaded_at, processing_status, processing_completed_at)")
    .replace(")::interval\n", ")::interval, 'completed', now()::timestamp - (n || ' seconds')::interval\n")
)
# By name, as mappers do: a prepared SELECT * would change its result, which PostgreSQL refuses (docs/howto/upgrade.md).
NAMED = "id, owner, original_filename, processed, uploaded_at"
LOAD = {
    "insert": (1, f"INSERT INTO {TABLE} (owner, original_filename) VALUES (:who, 'new.csv');"),
    "update": (2, f"UPDATE {TABLE} SET processed = NOT processed WHERE id = :id;"),
    "select": (4, f"SELECT {NAMED} FROM {TABLE} WHERE id = :id;"),
    "list": (1, f"SELECT {NAMED} FROM {TABLE} WHERE owner = :who ORDER BY uploaded_at DESC LIMIT 20;"),
}
"""The application's statements: how often each, of eight, and what it is."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + SECONDS * 4)]


@pytest.fixture(params=[PLAIN, FINISHED], ids=["rows without a status", "finished rows"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """The application's large table on a server of its own."""
    # Not in pytest's folder: the server's own user has to reach it.
    home = Path(tempfile.mkdtemp(prefix="opskit-load-"))
    home.chmod(0o755)
    settings = Settings.load({}, home=str(home / "server"), pg_bin=servers.PG_BIN, pg_port=servers.FIRST_PORT + 50)
    url = embedded.start(settings, {"max_wal_size": "4GB"})
    try:
        with Database(Settings.load({}, database_url=url, home=str(tmp_path)), pooled=False) as db:
            for statement in request.param.split(";"):
                ask(db, statement)
            yield db
    finally:
        servers.remove(home / "server")
        shutil.rmtree(home, ignore_errors=True)


def start_load(db: Database, folder: Path) -> subprocess.Popen[str]:
    """The application: pgbench with a log of every statement's latency."""
    words = []
    for name, (weight, statement) in LOAD.items():
        script = folder / f"{name}.sql"
        script.write_text(f"\\set id random(1, {ROWS})\n\\set who random(0, 999)\n{statement}\n")
        words += ["-f", f"{script}@{weight}"]
    program = programs.find_binaries(Settings.load({}, pg_bin=servers.PG_BIN)) / "pgbench"
    return subprocess.Popen(
        [program, "-n", "-c", "6", "-j", "2", "-M", "prepared", "-T", str(SECONDS), "--rate", str(RATE),
         "-l", "--log-prefix", str(folder / "latency"), *words, db.settings.database_url or ""],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def latencies(folder: Path) -> list[tuple[float, str, float]]:
    """Every statement: when it ended (epoch), its kind, and how long it took [s], without its wait for its turn."""
    kinds = list(LOAD)
    found = []
    for log in folder.glob("latency.*"):
        for line in log.read_text().splitlines():
            _, _, micros, script, at, part, lag = line.split()
            found.append((int(at) + int(part) / 1e6, kinds[int(script)], (int(micros) - int(lag)) / 1e6))
    return found


def test_no_statement_of_the_application_waits_longer_than_a_second(live: Database, tmp_path: Path) -> None:
    file_before = ask(live, f"SELECT pg_relation_filenode('{TABLE}') AS n")
    marks: list[tuple[float, str]] = []
    load = start_load(live, tmp_path)
    time.sleep(BEFORE)
    estimate = migration.estimate(live, migration.plan(live))
    began = time.time()

    steps = migration.migrate(live, on_line=lambda line: marks.append((time.time(), line)), on_progress=lambda _: None)
    ended = time.time()
    still_loaded = load.poll() is None
    said = load.communicate()[0]

    assert load.returncode == 0, said
    assert "number of failed transactions: 0 " in said
    every = latencies(tmp_path)
    told = [
        f"{ROWS:,} rows, {len(every):,} statements of the application, "
        f"{len(steps)} of the migration in {ended - began:.1f} s",
        f"before: about {estimate.total_seconds:.1f} s; {estimate.how}",
    ]
    for phase, those in (
        ("before", [each for each in every if each[0] < began]),
        ("during", [each for each in every if began <= each[0] <= ended + 1]),
        ("after", [each for each in every if each[0] > ended + 1]),
    ):
        for kind in LOAD:
            times = sorted(seconds for _, name, seconds in those if name == kind)
            assert len(times) > 5, f"{phase}: {len(times)} {kind}s"
            middle, late = statistics.median(times), times[int(len(times) * 0.99)]
            told.append(
                f"{phase:7} {kind:7} {len(times):7,}  p50 {middle * 1e3:7.2f} ms  "
                f"p99 {late * 1e3:7.2f} ms  longest {times[-1] * 1e3:8.2f} ms"
            )
    for (at, line), (after, _) in zip(marks, [*marks[1:], (ended, "")], strict=True):
        told.append(f"{after - at:8.2f} s  {line}")
    print("", *told, sep="\n")

    assert still_loaded, f"the migration took {ended - began:.0f} s, the load only {SECONDS} s"
    assert max(seconds for _, _, seconds in every) < LONGEST
    assert migration.missing(live) == []
    assert ask(live, f"SELECT pg_relation_filenode('{TABLE}') AS n") == file_before, "the table was rewritten"


def test_the_doctor_is_quick_on_a_large_table(live: Database) -> None:
    migration.migrate(live)
    migration.queue_new(live)
    ask(live, f"VACUUM ANALYZE {TABLE}")
    doctor.examine(live, missing=[], queues_new=True)
    began = time.monotonic()

    found = doctor.examine(live, missing=[], queues_new=True)

    took = time.monotonic() - began
    print(f"\n{ROWS:,} rows: examined in {took * 1e3:.0f} ms; {[finding.what for finding in found]}")
    assert took < 1
