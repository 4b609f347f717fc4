"""The application's own table: any shape is migrated, rolled back, and nothing of the application's changes."""

from __future__ import annotations

import pytest
from psycopg import sql

from opskit import migration
from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import MigrationRefusedError
from opskit.queue import claims
from tests.support.shapes import PLAIN, migrated
from tests.support.tables import SHAPES, Shape, application, boot, catalog, claim, insert, row, rows, run, tables_of

TABLE = "dev_uploaded_files"


# -- migrating -------------------------------------------------------------------------------


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("shape", SHAPES)
def test_migration_changes_nothing_of_the_applications(bare: Database, shape: Shape) -> None:
    with application(bare.settings) as connection:
        shape.create(connection, TABLE, rows=3)
        before, rows_before = catalog(connection), rows(connection, TABLE, order="original_filename")

        steps = migration.migrate(bare)

        after, rows_after = catalog(connection), rows(connection, TABLE, order="original_filename")
        for what in ("columns", "indexes", "constraints", "storage"):
            assert [entry for entry in after[what] if entry in before[what]] == before[what], what
        assert [{name: found[name] for name in rows_before[0]} for found in rows_after] == rows_before
        assert [found["processing_status"] for found in rows_after] == [None] * 3
    assert steps
    assert migration.missing(bare) == []
    assert migration.queues_new(bare) is False


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_from_before_are_never_claimed_and_new_ones_wait_until_the_cut_over(bare: Database, shape: Shape) -> None:
    with application(bare.settings) as connection:
        shape.create(connection, TABLE, rows=3)
        migration.migrate(bare)
        waiting = shape.insert(connection, TABLE, original_filename="waits")
        before = claims.claim(bare, boot(bare))
        migration.queue_new(bare)
        new = shape.insert(connection, TABLE, original_filename="new")

    after = claim(bare, boot(bare, "node-b"))
    nothing_more = claims.claim(bare, boot(bare, "node-c"))

    assert (before.outcome, nothing_more.outcome) == ("empty", "empty")
    assert after.row is not None
    assert after.row["id"] == new
    assert row(bare, waiting)["processing_status"] is None


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("shape", PLAIN)
def test_a_second_migration_runs_nothing(bare: Database, shape: Shape) -> None:
    migrated(bare, shape)
    with application(bare.settings) as connection:
        before = catalog(connection)

        again = migration.migrate(bare)

        assert again == []
        assert catalog(connection) == before


def test_tables_that_are_missing_are_created_and_queue_from_the_start(bare: Database) -> None:
    lacking = migration.missing(bare)

    migration.migrate(bare)

    with application(bare.settings) as connection:
        id = insert(connection, TABLE, original_filename="a")
    assert any("dev_uploaded_files is missing" in phrase for phrase in lacking)
    assert migration.queues_new(bare)
    assert migration.migrate(bare) == []
    answer = claim(bare, boot(bare))
    assert answer.row is not None
    assert answer.row["id"] == id


@pytest.mark.slow
def test_a_migration_that_was_interrupted_goes_on_where_it_stopped(bare: Database) -> None:
    def begin_again(connection: Connection) -> None:
        run(connection, "DROP TABLE IF EXISTS {}".format(", ".join(tables_of(bare.settings))))
        Shape("text", "plain").create(connection, TABLE)
        # A claim of the older processor's that says no start: the last step gives it one.
        run(connection, f"ALTER TABLE {TABLE} ADD COLUMN processing_status text")
        run(connection, f"INSERT INTO {TABLE} (id, processing_status) VALUES ('held', 'processing')")

    with application(bare.settings) as connection:
        begin_again(connection)
        steps = migration.plan(bare)
        for at in range(len(steps)):
            begin_again(connection)
            for step in steps[:at]:
                run(connection, step.sql)

            migration.migrate(bare)

            assert migration.missing(bare) == [], steps[at].sql
            assert row(bare, "held")["processing_started_at"] is not None, steps[at].sql
            assert migration.migrate(bare) == [], steps[at].sql


def test_the_index_that_an_interrupted_run_left_invalid_is_built_again(bare: Database) -> None:
    migrated(bare, Shape("identity", "zoned"))
    name = bare.names["queue_index"]
    with application(bare.settings) as connection:
        run(connection, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = {}::regclass", sql.Literal(name))
    found = migration.missing(bare)

    steps = migration.migrate(bare)

    assert found == [f"{name} is not valid"]
    assert "broken_indexes" in [step.part for step in steps]
    assert migration.missing(bare) == []


def test_a_rollback_leaves_the_table_as_the_application_made_it(bare: Database) -> None:
    shape = Shape("identity", "plain")
    with application(bare.settings) as connection:
        shape.create(connection, TABLE, rows=3)
        before, before_rows = catalog(connection), rows(connection, TABLE)
        migration.migrate(bare)

        migration.rollback(bare)

        assert catalog(connection) == before
        assert rows(connection, TABLE) == before_rows
    assert migration.migrate(bare) != []
    assert migration.missing(bare) == []


def test_a_rollback_is_refused_while_nodes_are_alive(db: Database) -> None:
    boot(db)

    with pytest.raises(MigrationRefusedError, match="alive"):
        migration.rollback(db)

    assert migration.missing(db) == []
