"""Tables that the migration refuses before anything is changed, and what it says."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from opskit import migration
from opskit.database import Database
from opskit.errors import MigrationRefusedError
from tests.support.tables import application, boot, catalog, claim, fail, files, opskit, psql, row, rows, run

TABLE = "dev_uploaded_files"


# -- refusing --------------------------------------------------------------------------------

REFUSED = {
    "statuses": ("processing_status text DEFAULT 'pending'", "'pending' (2 rows)"),
    "statuses in capitals": ("processing_status varchar(20) DEFAULT 'QUEUED'", "'QUEUED' (2 rows)"),
    "status of integers": ("processing_status integer", "processing_status of dev_uploaded_files is integer"),
    "start of dates": ("processing_started_at date", "processing_started_at of dev_uploaded_files is date"),
    "start of text": ("processing_started_at text", "processing_started_at of dev_uploaded_files is text"),
    "errors of arrays": ("processing_errors text[]", "processing_errors of dev_uploaded_files is text[]"),
    "errors of json": ("processing_errors jsonb", "processing_errors of dev_uploaded_files is jsonb"),
    "token of text": ("processing_token text", "processing_token of dev_uploaded_files is text where uuid is needed"),
    "epoch of integers": ("processing_epoch integer", "processing_epoch of dev_uploaded_files is integer"),
    "deleted of integers": ("deleted integer", "deleted of dev_uploaded_files is integer where boolean is needed"),
    "size of text": ("file_size text", "file_size of dev_uploaded_files is text where number is needed"),
    "two at once": ("deleted integer, uploaded_at text", "uploaded_at of dev_uploaded_files is text"),
}


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("door", ["python", "psql"])
@pytest.mark.parametrize(("column", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_ours_is_refused_before_anything_is_changed(
    bare: Database, door: str, column: str, sentence: str
) -> None:
    with application(bare.settings) as connection:
        run(connection, f"CREATE TABLE {TABLE} (id serial PRIMARY KEY, name text, {column})")
        run(connection, f"INSERT INTO {TABLE} (name) VALUES ('a'), ('b')")
        before = catalog(connection), rows(connection, TABLE)

        said = _refused(bare, door)

        after = catalog(connection), rows(connection, TABLE)
    assert sentence in said
    # psql migrates production's table first: what matters is that this one is as it was.
    assert _of_development(after) == _of_development(before)


def test_the_shell_says_in_one_sentence_why_a_migration_was_refused(bare: Database) -> None:
    with application(bare.settings) as connection:
        run(connection, f"CREATE TABLE {TABLE} (id serial PRIMARY KEY, processing_status text DEFAULT 'pending')")
        run(connection, f"INSERT INTO {TABLE} DEFAULT VALUES")

    done = opskit(bare.settings, "migrate")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "refused before anything was changed" in done.stderr
    assert "'pending' (1 row)" in done.stderr


def _refused(db: Database, door: str) -> str:
    if door == "python":
        with pytest.raises(MigrationRefusedError, match="refused before anything was changed") as refused:
            migration.migrate(db)
        return str(refused.value)
    done = psql(db.settings, "-f", "sql/migrate.sql")
    assert done.returncode == 3
    assert "refused before anything was changed" in done.stderr
    return done.stderr


def _of_development(found: tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]) -> Any:
    return {
        what: [entry for entry in entries if any(str(value).startswith("dev_") for value in entry.values())]
        for what, entries in found[0].items()
    }, found[1]


@pytest.mark.parametrize("more", ["", ", original_filename text", ", processing_status text"])
def test_a_table_without_an_id_is_refused(bare: Database, more: str) -> None:
    with application(bare.settings) as connection:
        run(connection, f"CREATE TABLE {TABLE} (number serial PRIMARY KEY{more})")
        before = catalog(connection)

        with pytest.raises(MigrationRefusedError, match="has no column id"):
            migration.migrate(bare)

        assert catalog(connection) == before


@pytest.mark.parametrize("column", ["processing_errors varchar(255)", "processing_server_id varchar(36)"])
def test_a_column_too_short_for_what_it_must_hold_is_refused(bare: Database, column: str) -> None:
    with application(bare.settings) as connection:
        run(connection, f"CREATE TABLE {TABLE} (id serial PRIMARY KEY, {column})")
        before = catalog(connection)

        with pytest.raises(MigrationRefusedError, match=column.split()[0]):
            migration.migrate(bare)

        assert catalog(connection) == before


def test_types_that_differ_in_name_only_are_taken(bare: Database) -> None:
    with application(bare.settings) as connection:
        run(
            connection,
            f"""CREATE TABLE {TABLE} (id smallserial PRIMARY KEY, original_filename varchar(255), file_size integer,
                processing_status varchar(20), processing_errors varchar, processing_attempt smallint,
                processing_started_at timestamp(0), deleted boolean)""",
        )
    migration.migrate(bare)
    (id,) = files(bare, "a")

    answer = claim(bare, boot(bare))
    outcome = fail(bare, id, answer.token, outcome="rejected", error="x" * 5000)

    assert outcome == "failed"
    assert row(bare, id)["processing_errors"] == "x" * 5000


def test_a_table_in_another_schema_of_the_search_path_is_not_passed_over(bare: Database) -> None:
    with application(bare.settings) as connection:
        run(connection, "CREATE SCHEMA elsewhere")
        run(connection, f"CREATE TABLE elsewhere.{TABLE} (id serial PRIMARY KEY)")
        name = sql.Identifier(connection.info.dbname)
        run(connection, "ALTER DATABASE {} SET search_path = public, elsewhere", name)
    bare.drop_connection()

    with pytest.raises(MigrationRefusedError, match="is in schema elsewhere, not in public"):
        migration.migrate(bare)


def test_a_table_whose_ids_are_not_unique_is_refused_with_the_statement_that_mends_it(bare: Database) -> None:
    with application(bare.settings) as connection:
        run(connection, f"CREATE TABLE {TABLE} (id bigint NOT NULL)")

        with pytest.raises(MigrationRefusedError, match="is not unique; run: CREATE UNIQUE INDEX") as caught:
            migration.migrate(bare)
        run(connection, str(caught.value).split("run: ")[1])

    assert migration.migrate(bare)
    assert migration.missing(bare) == []
