"""psql alone migrates."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from opskit import migration
from opskit.database import Database
from opskit.settings import Settings
from tests.support.tables import Shape, application, catalog, psql, rows, run

# -- psql migrates ---------------------------------------------------------------------------


def migrate_by_hand(settings: Settings) -> subprocess.CompletedProcess[str]:
    return psql(settings, "-f", "sql/migrate.sql")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("shape", [None, Shape("identity", "plain"), Shape("text", "zoned"), Shape("uuid", "none")])
def test_psql_alone_migrates_both_environments_and_may_do_it_twice(settings: Settings, shape: Shape | None) -> None:
    tables = ("uploaded_files", "dev_uploaded_files")
    with application(settings) as connection:
        if shape is not None:
            for table in tables:
                shape.create(connection, table, rows=2)
        before = catalog(connection)

        first = migrate_by_hand(settings)
        after = catalog(connection)
        second = migrate_by_hand(settings)

        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert "ERROR" not in first.stderr + second.stderr
        assert [column for column in after["columns"] if column in before["columns"]] == before["columns"]
        assert catalog(connection) == after
    with Database(settings, pooled=False) as db:
        for one in migration.both(db):
            assert migration.missing(one) == []
            assert migration.migrate(one) == []
            assert migration.queues_new(one) == (shape is None)
            assert one.run("distribution") == []


def test_psql_and_python_make_the_same_schema(server: Any, settings: Settings) -> None:
    other = server.create_database()
    with Database(settings, pooled=False) as db:
        for one in migration.both(db):
            migration.migrate(one)
    by_python = Settings.load({}, database_url=other)

    done = migrate_by_hand(by_python)

    with application(settings) as ours, application(by_python) as theirs:
        mine, hers = catalog(ours), catalog(theirs)
    server.drop_database(other)
    assert done.returncode == 0, done.stderr
    for what in ("columns", "indexes", "constraints", "triggers", "functions"):
        assert hers[what] == mine[what], what


def test_psql_stops_at_a_lock_with_a_sentence_and_goes_on_when_it_is_run_again(settings: Settings) -> None:
    with application(settings) as connection:
        Shape("identity", "plain").create(connection, "uploaded_files", rows=2)
        with connection.transaction():
            rows(connection, "uploaded_files")

            stopped = migrate_by_hand(settings)

        again = migrate_by_hand(settings)

    assert stopped.returncode == 3
    assert "canceling statement due to lock timeout" in stopped.stderr
    assert again.returncode == 0, again.stderr
    with Database(settings, pooled=False) as db:
        assert all(migration.missing(one) == [] for one in migration.both(db))


def test_the_last_step_of_the_psql_migration_cleans_stale_locks(settings: Settings) -> None:
    with application(settings) as connection:
        run(
            connection,
            """CREATE TABLE uploaded_files (id serial PRIMARY KEY, processing_status text,
                                                        processing_started_at timestamp)""",
        )
        for age in ("2 hours", "10 minutes"):
            run(
                connection,
                f"""INSERT INTO uploaded_files (processing_status, processing_started_at)
                                VALUES ('processing', now() AT TIME ZONE 'UTC' - interval '{age}')""",
            )

        done = migrate_by_hand(settings)

        states = [each["processing_status"] for each in rows(connection, "uploaded_files")]
    assert done.returncode == 0, done.stderr
    assert states == ["failed", "processing"]
