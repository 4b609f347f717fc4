"""The migration on a live table: interrupted, repeated, rolled back, in somebody's way."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opskit import migration
from opskit.cli.main import main
from opskit.database import Database, programs
from opskit.errors import DatabaseError, MigrationRefusedError
from opskit.migration import applying
from opskit.queue import claims
from opskit.settings import Settings
from tests.support import python_programs
from tests.support.nodes import ask, until
from tests.support.tables import boot, psql

APPLICATION = """
    CREATE TABLE dev_uploaded_files (
        id bigserial PRIMARY KEY,
        original_filename text NOT NULL,
        processed boolean DEFAULT false,
        uploaded_at timestamp
    );
    CREATE INDEX mine ON dev_uploaded_files (processed);
    INSERT INTO dev_uploaded_files (original_filename, processed)
    SELECT 'f' || n, n % 2 = 0 FROM generate_series(1, 50) AS n
"""


@pytest.fixture
def application(settings: Settings) -> Iterator[Database]:
    """A database with the application's table alone."""
    with Database(settings, pooled=False) as db:
        for statement in APPLICATION.split(";"):
            ask(db, statement)
        yield db


def dump(db: Database) -> str:
    """The schema as pg_dump tells it, without what differs from run to run."""
    program = programs.find_binaries(Settings.load(pg_bin=os.environ.get("OPSKIT_PG_BIN"))) / "pg_dump"
    url = db.settings.database_url or ""
    done = subprocess.run([program, "--schema-only", url], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\", "SET "))]
    # PostgreSQL 15.20 notes a number of its own with each column, and pg_dump tells some of them.
    return "\n".join(line for line in lines if "pg_attver=" not in line)


def rows(db: Database) -> list[dict[str, object]]:
    return ask(db, "SELECT id, original_filename, processed, uploaded_at FROM dev_uploaded_files ORDER BY id")


def test_the_plan_says_every_statement_with_its_lock_and_runs_nothing(
    application: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(application)

    code = main(["migrate", "--plan", "--database-url", application.settings.database_url or ""])

    out = capsys.readouterr()
    steps = migration.plan(application)
    assert code == 0
    assert out.out.count("-- ") >= len(steps)
    assert all("lock on dev_uploaded_files" in line for line in re.findall(r"^-- .*; lock.*$", out.out, re.MULTILINE))
    assert f"{len(steps)} statements would be run" in out.err
    assert dump(application) == before


def test_the_plan_run_by_psql_leads_to_the_same_schema(application: Database, server: object) -> None:
    url = application.settings.database_url or ""
    shown = python_programs.run(
        [sys.executable, "-m", "opskit", "migrate", "--plan", "--database-url", url],
        capture_output=True,
        text=True,
        check=True,
    )

    program = programs.find_binaries(Settings.load(pg_bin=os.environ.get("OPSKIT_PG_BIN"))) / "psql"
    subprocess.run([program, url, "-qv", "ON_ERROR_STOP=1"], input=shown.stdout, text=True, check=True)

    assert migration.missing(application) == []


@pytest.mark.slow
def test_squawk_finds_nothing_dangerous_in_the_plan(application: Database, tmp_path: Path) -> None:
    program = shutil.which("squawk", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    assert program, "squawk-cli is part of the development extra"
    shown = subprocess.run(
        [sys.executable, "-m", "opskit", "migrate", "--plan"],
        env={**os.environ, "DATABASE_URL": application.settings.database_url or ""},
        capture_output=True,
        text=True,
        check=True,
    )

    plan = tmp_path / "plan.sql"
    plan.write_text(shown.stdout)
    # Small counters need no bigint.
    done = subprocess.run(
        [program, "--pg-version", "15", "--exclude", "prefer-bigint-over-int", plan],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "0 issues" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_migration_killed_at_any_statement_and_run_again_leads_to_the_same_schema(
    settings: Settings, server: object
) -> None:
    def fresh() -> Database:
        db = Database(Settings.load({}, database_url=server.create_database(), home=settings.home), pooled=False)  # type: ignore[attr-defined]
        for statement in APPLICATION.split(";"):
            ask(db, statement)
        return db

    reference = fresh()
    total = len(migration.migrate(reference))
    expected = dump(reference)
    reference.close()
    assert total > 15

    for count in range(1, total + 1):
        db = fresh()
        environ = {**os.environ, "DATABASE_URL": db.settings.database_url or "", "PYTHONUNBUFFERED": "1"}
        applying = subprocess.Popen(
            [sys.executable, "-m", "opskit", "migrate"], env=environ, stderr=subprocess.PIPE, text=True
        )
        assert applying.stderr is not None
        for _ in range(count):
            applying.stderr.readline()
        applying.kill()
        applying.communicate()

        migration.migrate(db)

        assert dump(db) == expected, f"killed at statement {count}"
        assert len(rows(db)) == 50
        db.close()


@pytest.mark.slow
def test_a_rollback_after_any_statement_leads_back_to_the_original_schema(
    application: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, data = dump(application), rows(application)
    total = len(migration.plan(application))
    real = applying.run

    for count in range(total + 1):
        left = count

        def some(db: Database, step: migration.Step, **more: Any) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            real(db, step, **more)

        monkeypatch.setattr(applying, "run", some)
        with contextlib.suppress(KeyboardInterrupt):
            migration.migrate(application)
        monkeypatch.setattr(applying, "run", real)

        migration.rollback(application)

        assert dump(application) == before, f"after {count} statements"
        assert rows(application) == data


@pytest.mark.parametrize("door", ["python", "psql"])
def test_files_that_were_queued_before_the_migration_are_claimed_in_the_order_of_their_upload(
    application: Database, door: str
) -> None:
    """The application had the states of its own already. A time of upload that is yet to come makes nobody wait."""
    ask(application, "ALTER TABLE dev_uploaded_files ADD COLUMN processing_status text")
    ask(
        application,
        "UPDATE dev_uploaded_files SET processing_status = 'queued', "
        "uploaded_at = CASE id WHEN 7 THEN now() + interval '1 day' WHEN 8 THEN NULL "
        "ELSE now() - id * interval '1 h' END WHERE id BETWEEN 5 AND 8",
    )

    if door == "python":
        migration.migrate(application)
    else:
        assert psql(application.settings, "-f", "sql/migrate.sql").returncode == 0

    assert migration.missing(application) == []
    order = [claims.claim(application, boot(application, f"node-{n}")).row["id"] for n in range(4)]
    assert order[:2] == ["6", "5"]
    assert sorted(order[2:]) == ["7", "8"]


def test_an_invalid_index_left_by_an_interrupted_run_is_built_anew(application: Database) -> None:
    migration.migrate(application)
    ask(
        application,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'dev_uploaded_files_processing_queue'::regclass",
    )
    assert migration.missing(application) == ["dev_uploaded_files_processing_queue is not valid"]

    migration.migrate(application)

    assert migration.missing(application) == []


def test_columns_that_could_not_be_added_are_not_taken_for_the_migrations_own(
    application: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "PATIENCE_SECONDS", 0.5)
    with psycopg.connect(application.settings.database_url or "") as reader:
        reader.execute("SELECT count(*) FROM dev_uploaded_files")
        with pytest.raises(DatabaseError):
            migration.migrate(application)
    ask(application, "ALTER TABLE dev_uploaded_files ADD COLUMN file_size bigint")
    ask(application, "UPDATE dev_uploaded_files SET file_size = 17")

    migration.migrate(application)
    migration.rollback(application)

    assert {row["file_size"] for row in ask(application, "SELECT file_size FROM dev_uploaded_files")} == {17}


def test_a_rollback_is_refused_while_nodes_are_alive(db: Database) -> None:
    db.run(
        "register", server_id="node-a", boot="00000000-0000-4000-8000-000000000001", host="h", pid=1, version="1",
        lease_seconds=30, lanes="{}", on_orphan="requeue", max_failures=3, stale_after_seconds=3600,
    )  # fmt: skip

    with pytest.raises(MigrationRefusedError, match="node-a is alive"):
        migration.rollback(db)

    assert migration.missing(db) == []


def test_a_rollback_asks_first(
    db: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    code = main(["migrate", "--rollback", "--database-url", db.settings.database_url or ""])

    assert code == 1
    assert "--yes" in capsys.readouterr().err
    assert migration.missing(db) == []


@pytest.mark.slow
@pytest.mark.parametrize("door", ["python", "psql"])
def test_an_autovacuum_of_the_table_gives_way(application: Database, door: str) -> None:
    """It would hold its lock for minutes: it waits after each page, and its table has more than three hundred."""
    ask(
        application,
        "INSERT INTO dev_uploaded_files (original_filename) SELECT repeat('x', 100) FROM generate_series(1, 20000)",
    )
    ask(application, "UPDATE dev_uploaded_files SET processed = true")
    ask(
        application,
        "ALTER TABLE dev_uploaded_files SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, "
        "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
    )
    vacuum = "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = 'dev_uploaded_files'::regclass"
    ask(application, "ALTER SYSTEM SET autovacuum_naptime = 1")
    ask(application, "SELECT pg_reload_conf()")
    try:
        until(lambda: ask(application, vacuum), 120, "an autovacuum")
        began = time.monotonic()
        if door == "python":
            migration.migrate(application)
        else:
            done = psql(application.settings, "-f", "sql/migrate.sql")
            assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 20
    finally:
        ask(application, "ALTER SYSTEM RESET autovacuum_naptime")
        ask(application, "SELECT pg_reload_conf()")

    assert migration.missing(application) == []


@pytest.mark.slow
def test_behind_a_long_reader_the_migration_steps_back_so_that_the_application_goes_on(
    application: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    url = application.settings.database_url or ""
    waits: list[float] = []
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.is_set():
                began = time.monotonic()
                connection.execute("INSERT INTO dev_uploaded_files (original_filename) VALUES ('new')")
                waits.append(time.monotonic() - began)

    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM dev_uploaded_files")
        (blocker,) = migration.survey(application)["in_the_way"] or [None]
        writer = threading.Thread(target=write)
        migrating = threading.Thread(target=lambda: migration.migrate(application))
        writer.start()
        migrating.start()
        migrating.join(2.5)
        assert migrating.is_alive()
        reader.rollback()
        migrating.join(30)
    stop.set()
    writer.join()

    assert migration.missing(application) == []
    assert max(waits) < 1.0
    assert blocker is None or blocker["lock"] == "AccessShareLock"
