"""psql runs the SQL files and answers what Python answers."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from opskit import migration
from opskit.database import Database, queries
from opskit.queue import claims
from opskit.settings import Settings
from tests.support.sql_files import READ_ONLY, psql_line
from tests.support.tables import (
    ROOT,
    Shape,
    application,
    ask_psql,
    attempts,
    boot,
    change,
    claimed,
    environ,
    fail,
    files,
    insert,
    psql,
    psql_program,
    put,
    row,
    rows,
    run,
    tables_of,
)

# -- psql ------------------------------------------------------------------------------------


@pytest.fixture
def busy(db: Database) -> Database:
    """A database with a bit of everything."""
    done, failed, stale, _ = files(db, "invoice done", "invoice failed", "stale", "queued")
    node = boot(db, "node-a", lease_seconds=600.0)
    claims.complete(db, id=done, token=claims.claim_one(db, node, done).token, result={"rows": 1})
    fail(db, failed, claims.claim_one(db, node, failed).token, outcome="rejected", error='bad, "really" bad\nline 2')
    claims.claim_one(db, node, stale)
    put(db, stale, "processing_started_at = now() - interval '2 hours'")
    claimed(db, "node-b")
    with db.connection() as connection:
        run(
            connection, f"INSERT INTO {db.settings.files} (original_filename, processing_status) VALUES ('waits', NULL)"
        )
    return db


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("name", READ_ONLY)
def test_the_psql_line_of_a_header_runs(busy: Database, name: str) -> None:
    command = psql_line(name)
    assert command is not None
    folder = Path(psql_program()).parent
    before = {table: _rows(busy, table) for table in tables_of(busy.settings)}

    done = subprocess.run(
        ["bash", "-c", command.replace("psql ", "psql --csv ", 1)],
        env=environ(busy.settings, PATH=f"{folder}:{os.environ['PATH']}"),
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    # The header row and nothing before it: the session's settings are made without a word.
    (statement,) = queries.statements(name)
    with busy.connection() as connection:
        text = statement.compose(busy.names)
        columns = connection.execute(text, dict.fromkeys(statement.values, None) or None).description or []
    assert done.stdout.splitlines()[0].split(",") == [column.name for column in columns]
    assert {table: _rows(busy, table) for table in tables_of(busy.settings)} == before


def _rows(db: Database, table: str) -> list[dict[str, Any]]:
    with db.connection() as connection:
        return rows(connection, table, "*, xmin::text", "ctid")


DEFAULTS: dict[str, dict[str, Any]] = {
    "distribution": {},
    "concurrency": {"stale_after_seconds": 3600},
    "longest_running": {"row_limit": 10},
    "stale": {"stale_after_seconds": 3600, "look_seconds": 2, "every": False},
    "failures": {"row_limit": 100},
    "nodes": {},
    "forecast": {},
    "node_work": {"since_seconds": 3600},
    "trends": {"since_seconds": 3600, "bucket_seconds": 60, "before_seconds": 86400},
    "marks": {"since_seconds": 86400, "row_limit": 100},
    "pauses": {},
}


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("name", DEFAULTS)
def test_psql_answers_what_python_answers(busy: Database, name: str) -> None:
    theirs = ask_psql(busy.settings, name)
    ours = busy.run(name, **DEFAULTS[name])

    assert len(theirs) == len(ours)
    for shown, found in zip(theirs, ours, strict=True):
        assert list(shown) == list(found)
        for key, value in found.items():
            if isinstance(value, float):
                assert float(shown[key]) == pytest.approx(value, abs=10)
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(shown[key]).timestamp() == pytest.approx(value.timestamp(), abs=10)
            elif isinstance(value, bool):
                assert shown[key] == ("t" if value else "f"), key
            else:
                assert shown[key] == ("" if value is None else str(value)), key


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("how", ["-v", "OPSKIT_ENV"])
@pytest.mark.parametrize("name", ["distribution", "cleanup", "claim", "queue_new"])
def test_psql_refuses_an_unknown_environment(busy: Database, how: str, name: str) -> None:
    id = claimed(busy, "node-c")[0]
    put(busy, id, "processing_started_at = now() - interval '9 hours', processing_server_id = 'unknown'")
    flags = ["-v", "env=staging"] if how == "-v" else []
    more = {} if how == "-v" else {"OPSKIT_ENV": "staging"}

    done = psql(busy.settings, *flags, "-f", f"sql/{name}.sql", **more)

    assert done.returncode == 3
    assert "unknown environment; say -v env=production or -v env=development" in done.stderr
    assert done.stdout == ""
    assert row(busy, id)["processing_status"] == "processing"


@pytest.mark.parametrize("flags", [["-v", "env=production"], []])
def test_the_flag_goes_before_the_variable_and_that_before_the_default(busy: Database, flags: list[str]) -> None:
    done = psql(busy.settings, *flags, "-f", "sql/pending.sql", OPSKIT_ENV="development")

    # Production's table is not migrated.
    assert (done.returncode == 0) == (not flags)
    assert ('"uploaded_files" does not exist' in done.stderr) == bool(flags)


def test_psql_is_loud_about_a_variable_that_is_not_given(busy: Database) -> None:
    done = psql(busy.settings, "-f", "sql/file.sql")

    assert done.returncode == 3
    assert "syntax error" in done.stderr


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("where", ["PGTZ", "PGOPTIONS", "database"])
def test_the_zone_of_an_operator_changes_no_age(settings: Settings, where: str) -> None:
    with Database(settings, pooled=False) as db, application(settings) as connection:
        Shape("identity", "plain").create(connection, settings.files)
        migration.migrate(db)
        ten = insert(connection, settings.files, original_filename="ten minutes")
        old = insert(connection, settings.files, original_filename="two hours")
        for id, age in ((ten, "10 minutes"), (old, "2 hours")):
            change(connection, settings.files, id, f"processing_status = 'processing', processing_server_id = 'old', "
                   f"processing_started_at = now() AT TIME ZONE 'UTC' - interval '{age}'")  # fmt: skip
        more = {"PGTZ": "Asia/Kolkata"} if where == "PGTZ" else {}
        if where == "PGOPTIONS":
            more = {"PGOPTIONS": "-c timezone=Asia/Kolkata"}
        if where == "database":
            run(connection, "ALTER DATABASE {} SET timezone = 'Asia/Kolkata'", sql.Identifier(connection.info.dbname))
        flags = ["-v", "env=development", "-v", "every=true"]

        shown = psql(settings, *flags, "-f", "sql/stale.sql", **more)
        longest = psql(settings, *flags, "-f", "sql/longest_running.sql", **more)
        cleaned = psql(settings, *flags, "-f", "sql/cleanup.sql", **more)

        ages = [each["minutes_processing"] for each in csv.DictReader(io.StringIO(shown.stdout))]
        again = [each["minutes_processing"] for each in csv.DictReader(io.StringIO(longest.stdout))]
        assert [round(float(age)) for age in ages] == [round(float(age)) for age in again] == [120, 10]
        assert cleaned.returncode == 0
        assert (row(db, ten)["processing_status"], row(db, old)["processing_status"]) == ("processing", "failed")
        assert "for 120 minutes on old" in attempts(db, old)[0]["reason"]
