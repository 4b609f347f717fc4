"""The databases of the tests: cheap to make, and nothing of one test is there for the next."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from opskit.database import Database
from opskit.settings import Settings
from tests.support import servers
from tests.support.databases import Databases, Lent, begin_with, hand_back
from tests.support.tables import application, boot, files, run

Spoil = Callable[[Database], object]


@pytest.fixture(scope="module")
def own(server: servers.Server) -> Iterator[Databases]:
    """Databases of these tests' own: those of the other tests stay out of it."""
    with contextlib.closing(Databases(server)) as databases:
        yield databases


@contextlib.contextmanager
def lent_database(own: Databases, template: str) -> Iterator[Database]:
    """A database of a test, handed back at its end."""
    lent = own.lend(template, again=True)
    with Database(Settings.load({}, database_url=lent.url, env="development")) as database:
        begin_with(database, lent)
        yield database
        hand_back(database, lent)
    own.take_back(lent)


def do(statements: str) -> Spoil:
    def executed(db: Database) -> None:
        with db.connection() as connection:
            for statement in statements.split(";"):
                connection.execute(statement.encode())

    return executed


def look(db: Database) -> dict[str, Any]:
    """What a test can see of a database and of its session."""
    with db.connection() as connection:
        tables = [row["t"] for row in run(connection, "SELECT relname AS t FROM pg_stat_user_tables ORDER BY 1")]
        settings = run(connection, "SELECT name, setting FROM pg_settings")
        return {row["name"]: row["setting"] for row in settings} | {
            "rows": {table: run(connection, f"SELECT * FROM {table}") for table in tables},
            "sequences": run(connection, "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"),
            "tables": run(
                connection,
                "SELECT relname, relkind, reltuples, relpages, relhastriggers, relacl FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
            ),
            "sizes": {table: run(connection, f"SELECT pg_relation_size('{table}')") for table in tables},
            "prepared": run(connection, "SELECT statement FROM pg_prepared_statements"),
            "channels": run(connection, "SELECT pg_listening_channels()"),
            "locks": run(connection, "SELECT * FROM pg_locks WHERE locktype = 'advisory'"),
            "counters": run(
                connection,
                "SELECT relname, n_tup_ins, n_mod_since_analyze, last_analyze FROM pg_stat_user_tables ORDER BY 1",
            ),
        }


def claims(db: Database) -> None:
    files(db, "a", "b")
    boot(db, "node-a")


ROWS: dict[str, Spoil] = {
    "nothing but reading": lambda db: db.run("distribution"),
    "files and a node": claims,
    "an event that is gone": do("DELETE FROM dev_processing_events"),
    "a number of a sequence": do("SELECT nextval('dev_uploaded_files_id_seq')"),
    "a table": do("CREATE TABLE more AS SELECT 1 AS one; CREATE INDEX ON more (one); ANALYZE more"),
    "settings": do("SET statement_timeout = 1; SET search_path = nowhere; SET default_transaction_read_only = on"),
    "a prepared statement": do("PREPARE mine AS SELECT 1"),
    "a channel": do("LISTEN here; NOTIFY here"),
    "an advisory lock": do("SELECT pg_advisory_lock(7)"),
}


@pytest.mark.parametrize("left", ROWS)
def test_a_database_in_which_a_test_left_no_more_than_rows_is_used_again_and_is_as_good_as_new(
    own: Databases, migrated: str, left: str
) -> None:
    with lent_database(own, migrated) as db:
        new, first = look(db), db.settings.database_url
    with lent_database(own, migrated) as db:
        ROWS[left](db)

    with lent_database(own, migrated) as db:
        assert db.settings.database_url == first
        seen = look(db)
        assert {what: (new[what], seen[what]) for what in new if seen[what] != new[what]} == {}


CHANGES = {
    "a column": "ALTER TABLE dev_uploaded_files ADD COLUMN more int",
    "a column's default": "ALTER TABLE dev_uploaded_files ALTER COLUMN file_size SET DEFAULT 7",
    "an index": "CREATE INDEX ON dev_uploaded_files (file_size)",
    "an index that is gone": "DROP INDEX dev_uploaded_files_processing_ended",
    "a constraint": "ALTER TABLE dev_uploaded_files ADD CHECK (file_size > 0)",
    "a parameter of a table": "ALTER TABLE dev_uploaded_files SET (fillfactor = 50)",
    "a table that is gone": "DROP TABLE dev_processing_logs",
    "a table of another name": "ALTER TABLE dev_processing_logs RENAME TO logs",
    "a table of the same name": "CREATE TABLE copy (LIKE dev_processing_logs INCLUDING ALL);"
    "DROP TABLE dev_processing_logs; ALTER TABLE copy RENAME TO dev_processing_logs",
    "a function": "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a trigger": "CREATE TRIGGER more BEFORE UPDATE ON dev_uploaded_files FOR EACH ROW "
    "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a trigger that sleeps": "ALTER TABLE dev_uploaded_files DISABLE TRIGGER ALL",
    "a policy": "CREATE POLICY more ON dev_uploaded_files; ALTER TABLE dev_uploaded_files ENABLE ROW LEVEL SECURITY",
    "a view": "CREATE VIEW more AS SELECT 1 AS one",
    "a type": "CREATE TYPE more AS ENUM ('a')",
    "a schema": "CREATE SCHEMA more",
    "a table of a schema of its own": "CREATE SCHEMA more; CREATE TABLE more.more ()",
    "a sequence": "CREATE SEQUENCE more",
    "a temporary table": "CREATE TEMP TABLE more ()",
    "a statistic": "CREATE STATISTICS more ON id, file_size FROM dev_uploaded_files",
    "an analyzed table": "INSERT INTO dev_uploaded_files (original_filename) VALUES ('a'); ANALYZE dev_uploaded_files",
    "a grant": "GRANT SELECT ON dev_uploaded_files TO pg_monitor",
    "a grant of what was there": "GRANT SELECT ON pg_authid TO pg_monitor",
    "a right that is gone": "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(float8) FROM PUBLIC",
    "rights of what will be made": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor",
    "a comment": "COMMENT ON TABLE dev_uploaded_files IS 'mine'",
    "a comment on the database": "COMMENT ON DATABASE {database} IS 'mine'",
    "an event trigger": "CREATE FUNCTION one() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END' ;"
    "CREATE EVENT TRIGGER more ON sql_drop EXECUTE FUNCTION one()",
    "a large object": "SELECT lo_from_bytea(0, 'a')",
    "a publication": "CREATE PUBLICATION more",
    "a setting of the database": "ALTER DATABASE {database} SET work_mem = '1MB'",
    "a setting of a role": "ALTER ROLE CURRENT_USER IN DATABASE {database} SET work_mem = '1MB'",
    "a limit of the database": "ALTER DATABASE {database} CONNECTION LIMIT 9",
    "a grant of the database": "GRANT CREATE ON DATABASE {database} TO pg_monitor",
}


@pytest.mark.fast_cases(9)
@pytest.mark.parametrize("left", CHANGES)
def test_a_database_in_which_a_test_left_more_than_rows_is_not_used_again(
    own: Databases, migrated: str, left: str
) -> None:
    with lent_database(own, migrated) as db:
        first = str(db.settings.database_url)
        do(CHANGES[left].format(database=first.rpartition("/")[2]))(db)

    with lent_database(own, migrated) as db:
        assert db.settings.database_url != first


def test_a_database_with_a_prepared_transaction_is_not_used_again(own: Databases, migrated: str) -> None:
    with lent_database(own, migrated) as db:
        first = db.settings
        do("BEGIN; DELETE FROM dev_processing_events; PREPARE TRANSACTION 'of-a-test'")(db)
    try:
        with lent_database(own, migrated) as db:
            assert db.settings.database_url != first.database_url
    finally:
        with application(first) as connection:
            connection.execute("ROLLBACK PREPARED 'of-a-test'")


def ended(own: Databases, migrated: str, leave: Callable[[Lent, psycopg.Connection[Any]], object]) -> bool:
    """Whether the database of a test is used again that left something with its session."""
    lent = own.lend(migrated, again=True)
    with lent.connection(psycopg.Connection) or psycopg.connect(lent.url, autocommit=True) as connection:
        leave(lent, connection)
        lent.hand_back(connection)
    own.take_back(lent)
    next_one = own.lend(migrated, again=True)
    own.take_back(next_one)
    return next_one.url != lent.url


def test_a_database_with_another_session_is_not_used_again(own: Databases, migrated: str) -> None:
    others: list[psycopg.Connection[Any]] = []

    assert ended(own, migrated, lambda lent, _: others.append(psycopg.connect(lent.url)))

    with pytest.raises(psycopg.OperationalError):
        others[0].execute("SELECT 1")
    others[0].close()


def test_a_database_is_not_used_again_whose_session_has_a_transaction_open_or_is_closed(
    own: Databases, migrated: str
) -> None:
    assert not ended(own, migrated, lambda _, connection: connection.execute("SELECT 1"))
    assert ended(own, migrated, lambda _, connection: connection.execute("BEGIN"))
    assert ended(own, migrated, lambda _, connection: connection.close())


def test_a_database_is_not_used_again_while_a_thread_or_a_program_of_the_test_runs(
    own: Databases, migrated: str
) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, daemon=True)
    assert ended(own, migrated, lambda *_: thread.start())
    end.set()
    thread.join()

    programs: list[subprocess.Popen[bytes]] = []
    assert ended(own, migrated, lambda *_: programs.append(subprocess.Popen(["sleep", "60"])))
    programs[0].kill()
    programs[0].wait()


def test_a_session_that_somebody_has_ended_between_two_tests_costs_the_database_and_no_test(
    own: Databases, migrated: str, server: servers.Server
) -> None:
    with lent_database(own, migrated) as db:
        first = str(db.settings.database_url)
        db.run("distribution")
    with psycopg.connect(server.url) as connection:
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        assert connection.execute(query, (first.rpartition("/")[2],)).fetchall() == [(True,)]

    with lent_database(own, migrated) as db:
        assert db.settings.database_url != first
        assert db.run("distribution") == []


def test_a_database_is_used_so_often_and_no_more(own: Databases, migrated: str) -> None:
    used: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.databases.MOST_USES", 0)
        with lent_database(own, migrated) as db:
            db.run("distribution")
        patch.setattr("tests.support.databases.MOST_USES", 3)
        for _ in range(4):
            with lent_database(own, migrated) as db:
                used.append(str(db.settings.database_url))
                files(db, "a")

    assert [used.count(url) for url in dict.fromkeys(used)] == [3, 1]


def test_a_test_that_asks_for_a_new_database_has_one_and_leaves_the_used_one_for_others(
    own: Databases, migrated: str
) -> None:
    with lent_database(own, migrated) as db:
        first = db.settings.database_url
        db.run("distribution")

    new = own.lend(migrated, again=False)
    own.take_back(new)

    with lent_database(own, migrated) as db:
        assert db.settings.database_url == first != new.url


def test_a_database_that_is_left_has_no_sessions_at_once_and_is_gone_when_the_next_one_is_left(
    server: servers.Server,
) -> None:
    first, second = server.create_database(), server.create_database()
    with psycopg.connect(first, autocommit=True) as session:
        server.leave_database(first)

        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    psycopg.connect(first).close()
    server.leave_database(second)

    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)
    psycopg.connect(second).close()


@pytest.mark.skipif(servers.SHARED is not None, reason="somebody else's server")
def test_a_copied_database_makes_the_maps_again_that_its_template_lacks(server: servers.Server) -> None:
    maps = (
        "SELECT count(*) FROM pg_database, pg_ls_dir('base/' || oid) AS file "
        "WHERE datname = current_database() AND file ~ '_(fsm|vm)$'"
    )
    with psycopg.connect(server.create_database(), autocommit=True) as connection:
        (before,) = connection.execute(maps).fetchone() or (99,)

        connection.execute("VACUUM pg_class, pg_proc, pg_attribute, pg_depend, pg_type")

        (after,) = connection.execute(maps).fetchone() or (0,)
    assert before < after
