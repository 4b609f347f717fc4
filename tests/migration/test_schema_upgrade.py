"""A schema that an older version has made, or that somebody has changed, is brought up to date in place."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from opskit import doctor, migration
from opskit.database import Database, queries
from opskit.errors import DatabaseError
from opskit.migration import applying
from opskit.queue.claims import new_token
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from tests.migration.test_migration import dump
from tests.support.nodes import ask, until
from tests.support.tables import ROOT, Shape, application, files, psql, psql_program, rows, run

TABLE = "dev_uploaded_files"
OLDER = ROOT / "tests" / "older"
SHAPE = Shape("identity", "plain")


@pytest.fixture
def bare(settings: Settings) -> Iterator[Database]:
    """The application's table, which opskit has never seen."""
    with Database(settings, pooled=False) as db:
        with application(settings) as connection:
            SHAPE.create(connection, TABLE)
        yield db


@pytest.fixture
def fresh(bare: Database) -> tuple[Database, str]:
    """That table, migrated, and its schema as pg_dump tells it."""
    migration.migrate(bare)
    return bare, dump(bare)


def by_python(db: Database) -> None:
    migration.migrate(db)


def by_psql(db: Database) -> None:
    done = psql(db.settings, "-f", "sql/migrate.sql")
    assert done.returncode == 0, done.stderr
    ask(db, "DROP TABLE uploaded_files, processing_nodes, processing_events, processing_pauses, processing_logs")
    ask(db, "DROP FUNCTION uploaded_files_processing_guard, uploaded_files_processing_wake")


DOORS = pytest.mark.parametrize("door", [by_python, by_psql])
Door = Callable[[Database], None]

NODES = "dev_processing_nodes"
CHANGED = {
    # name: what is there instead, and what is said of it
    "index with another predicate": (
        f"""DROP INDEX {TABLE}_processing_ended;
            CREATE INDEX {TABLE}_processing_ended ON {TABLE} (processing_completed_at, processing_status,
                processing_server_id) WHERE processing_status = 'failed'""",
        f"{TABLE}_processing_ended has another definition",
    ),
    "index with other columns": (
        f"""DROP INDEX {TABLE}_processing_queue;
            CREATE INDEX {TABLE}_processing_queue ON {TABLE} (processing_queued_at)
                WHERE processing_status = 'queued' AND deleted IS NOT TRUE""",
        f"{TABLE}_processing_queue has another definition",
    ),
    "index that is no longer unique": (
        f"""DROP INDEX {TABLE}_processing_held;
            CREATE INDEX {TABLE}_processing_held ON {TABLE} (processing_server_id, processing_epoch)
                WHERE processing_status = 'processing'""",
        f"{TABLE}_processing_held has another definition",
    ),
    "index of the events": (
        "DROP INDEX dev_processing_events_by_time; CREATE INDEX dev_processing_events_by_time ON "
        "dev_processing_events (at, kind)",
        "dev_processing_events_by_time has another definition",
    ),
    "function of the guard": (
        f"""CREATE OR REPLACE FUNCTION {TABLE}_processing_guard() RETURNS trigger LANGUAGE plpgsql
                SET TimeZone = 'UTC' AS $$ BEGIN RETURN NEW; END $$""",
        f"the function {TABLE}_processing_guard has another definition",
    ),
    "function of the wake-up": (
        f"""CREATE OR REPLACE FUNCTION {TABLE}_processing_wake() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RETURN NULL; END $$""",
        f"the function {TABLE}_processing_wake has another definition",
    ),
    "trigger that fires at another time": (
        f"""DROP TRIGGER {TABLE}_processing_new ON {TABLE};
            CREATE TRIGGER {TABLE}_processing_new BEFORE INSERT ON {TABLE} FOR EACH ROW
                WHEN (NEW.processing_status = 'completed') EXECUTE FUNCTION {TABLE}_processing_guard()""",
        f"the trigger {TABLE}_processing_new has another definition",
    ),
    "guard switched off": (
        f"ALTER TABLE {TABLE} DISABLE TRIGGER {TABLE}_processing_guard",
        f"the trigger {TABLE}_processing_guard is switched off",
    ),
    "wake-up for replicas only": (
        f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER {TABLE}_processing_wake",
        f"the trigger {TABLE}_processing_wake is switched off",
    ),
    "check of an older version": (
        f"""ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS {TABLE}_processing_fence;
            ALTER TABLE {TABLE} ADD CONSTRAINT {TABLE}_processing_fence CHECK (processing_token IS NULL OR
                processing_status <> 'completed' OR processing_done_token = processing_token)""",
        f"{TABLE}_processing_fence, of an older version, is still there",
    ),
    "default of the queue's time": (
        f"ALTER TABLE {TABLE} ALTER COLUMN processing_queued_at SET DEFAULT now()",
        "the default of processing_queued_at is another one",
    ),
    "nodes without a column": (
        # The last one: what is added again stands at the end.
        f"ALTER TABLE {NODES} DROP COLUMN streak_at",
        f"column streak_at of {NODES} is missing",
    ),
    "nodes with another check": (
        f"""ALTER TABLE {NODES} DROP CONSTRAINT {NODES}_state_check;
            ALTER TABLE {NODES} ADD CONSTRAINT {NODES}_state_check CHECK (state IN ('active', 'draining'))""",
        f"constraint {NODES}_state_check of {NODES} has another definition",
    ),
    "nodes without the key of a takeover": (
        f"ALTER TABLE {NODES} DROP CONSTRAINT {NODES}_server_id_epoch_key",
        f"constraint {NODES}_server_id_epoch_key of {NODES} is missing",
    ),
}


@pytest.mark.fast_cases(6)
@DOORS
@pytest.mark.parametrize(("statements", "phrase"), CHANGED.values(), ids=CHANGED)
def test_what_has_the_right_name_and_is_another_thing_is_seen_and_mended(
    fresh: tuple[Database, str], statements: str, phrase: str, door: Door
) -> None:
    db, expected = fresh
    ask(db, statements) if "$$" in statements else [ask(db, each) for each in statements.split(";")]
    seen = migration.missing(db)
    planned = migration.plan(db)

    door(db)

    assert phrase in seen
    assert len(planned) < 12, "only what differs is done"
    assert migration.missing(db) == []
    assert dump(db) == expected


def test_a_probe_asks_for_names_only_and_the_doctor_for_all(fresh: tuple[Database, str]) -> None:
    db, _ = fresh
    ask(db, f"ALTER TABLE {TABLE} DISABLE TRIGGER {TABLE}_processing_guard")

    seen = migration.missing(db)

    assert migration.missing(db, definitions=False) == []
    (finding,) = doctor.examine(db, missing=seen)
    assert (finding.level, finding.what) == ("error", f"the trigger {TABLE}_processing_guard is switched off")
    assert finding.mend == "opskit migrate"


def test_what_somebody_has_set_for_an_index_is_theirs(fresh: tuple[Database, str]) -> None:
    db, _ = fresh
    ask(db, f"ALTER INDEX {TABLE}_processing_queue SET (fillfactor = 60)")

    assert migration.missing(db) == []


def test_a_comparison_leaves_no_trace(fresh: tuple[Database, str]) -> None:
    db, expected = fresh

    migration.missing(db)

    assert dump(db) == expected
    assert ask(db, "SELECT relname FROM pg_class WHERE relpersistence = 't'") == []
    assert ask(db, "SELECT current_schema() AS name") == [{"name": "public"}]


@pytest.mark.parametrize("why", ["standby", "role"])
def test_who_may_make_no_model_judges_by_names(fresh: tuple[Database, str], why: str) -> None:
    db, _ = fresh
    ask(db, f"CREATE OR REPLACE FUNCTION {TABLE}_processing_wake() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NULL; END $$")  # fmt: skip
    role = f"viewer_{uuid.uuid4().hex[:8]}"
    if why == "standby":
        ask(db, "SET default_transaction_read_only = on")
    else:
        ask(db, "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', current_database()); END $$")
        ask(db, f"CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; SET ROLE {role}")

    seen = migration.missing(db)

    ask(db, "RESET ROLE")
    if why == "role":
        ask(db, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert seen == []


# -- from the version before -------------------------------------------------------------------


@pytest.fixture
def older(bare: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """That table as an earlier version has migrated it, and the statements of that version's nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries, "FOLDER", OLDER.parent)
        for name in ("older/register", "older/claim", "older/complete"):
            queries.statement(name)
    values = [word for name, value in bare.names.items() for word in ("-v", f"{name}={value}")]
    done = subprocess.run(
        [psql_program(), bare.settings.database_url or "", "-qv", "ON_ERROR_STOP=1", *values,
         "-f", OLDER / "migrate.sql"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # This version's own changes may be few; whoever comes from further back has other definitions, too.
    for name in ("index with another predicate", "index with other columns", "check of an older version"):
        for statement in CHANGED[name][0].split(";"):
            ask(bare, statement)
    ask(bare, CHANGED["function of the wake-up"][0])
    return bare


def older_boot(db: Database, server_id: str) -> Boot:
    """Register a node as the older version does."""
    id = str(uuid.uuid4())
    row = db.one("older/register", server_id=server_id, boot=id, host="h", pid=1, version="older", lease_seconds=600.0,
                 on_orphan="requeue", max_failures=3, stale_after_seconds=3600)  # fmt: skip
    return Boot(server_id, id, row["epoch"])


def one_file_by_an_older_node(db: Database, node: Any) -> str:
    """Claim and complete a file with the statements of the older version; its id."""
    token = new_token()
    (row,) = db.run("older/claim", server_id=node.server_id, boot=node.boot, epoch=node.epoch, token=token,
                    after="-infinity")  # fmt: skip
    assert row["outcome"] == "claimed", row
    # As its nodes did: a row that somebody has locked for a moment is tried again.
    answer = until(lambda: (found := db.one("older/complete", id=row["id"], token=token, result="{}"))["answer"]
                   != "again" and found)  # fmt: skip
    assert answer == {"answer": "done"}
    return str(row["id"])


@DOORS
@pytest.mark.fast_cases(2)
def test_an_older_schema_becomes_the_same_as_a_new_one(
    older: Database, server: Any, door: Door, settings: Settings
) -> None:
    url = server.create_database()
    with Database(dataclasses.replace(settings, database_url=url), pooled=False) as other:
        with application(other.settings) as connection:
            SHAPE.create(connection, TABLE)
        migration.migrate(other)
        expected = dump(other)
    server.drop_database(url)

    door(older)

    assert migration.missing(older) == []
    assert migration.plan(older) == []
    assert dump(older) == expected


def test_nodes_of_the_older_version_work_before_and_after_every_statement_of_the_upgrade(older: Database) -> None:
    node = older_boot(older, "older")
    steps = migration.plan(older)
    done = []

    for step in steps:
        files(older, "before a statement")
        done.append(one_file_by_an_older_node(older, node))
        applying.run(older, step)
    files(older, "after the last")
    done.append(one_file_by_an_older_node(older, node))

    assert len(set(done)) == len(steps) + 1 > 8
    assert migration.missing(older) == []
    with application(older.settings) as connection:
        assert {row["processing_status"] for row in rows(connection, TABLE)} == {"completed"}


@pytest.mark.slow
def test_older_nodes_work_all_the_while(older: Database) -> None:
    count = 300
    files(older, *(f"file-{n}" for n in range(count)))
    done: list[str] = []
    wrong: list[BaseException] = []

    def work(name: str) -> None:
        with Database(older.settings, pooled=False) as own:
            node = older_boot(own, name)
            try:
                while len(done) < count:
                    done.append(one_file_by_an_older_node(own, node))
            except AssertionError as error:
                if len(done) < count - 2:
                    wrong.append(error)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(f"older-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    migration.migrate(older)
    for thread in threads:
        thread.join(60)

    assert wrong == []
    assert len(set(done)) == len(done) == count
    assert migration.missing(older) == []


@pytest.mark.slow
def test_an_upgrade_that_is_interrupted_anywhere_goes_on(older: Database, settings: Settings) -> None:
    steps = migration.plan(older)
    parts = [step.part for step in steps]

    for at in range(len(steps)):
        for step in steps[:at]:
            applying.run(older, step)
        migration.migrate(older)

        assert migration.missing(older) == [], parts[:at]
        assert migration.plan(older) == []
        with application(settings) as connection:
            assert not run(connection, "SELECT 1 AS one FROM pg_class WHERE relname LIKE '%superseded%'")
        for name in ("index with another predicate", "index with other columns", "check of an older version"):
            for statement in CHANGED[name][0].split(";"):
                ask(older, statement)
        ask(older, CHANGED["function of the wake-up"][0])
    assert {"outdated", "indexes", "superseded", "former_checks", "wake"} <= set(parts)


def test_an_index_set_aside_keeps_its_promise_until_the_new_one_is_built(fresh: tuple[Database, str]) -> None:
    db, _ = fresh
    held = f"{TABLE}_processing_held"
    ask(db, f"DROP INDEX {held}")
    ask(db, f"CREATE UNIQUE INDEX {held} ON {TABLE} (processing_epoch, processing_server_id) "
            "WHERE processing_status = 'processing'")  # fmt: skip
    one, two = files(db, "one", "two")
    claim = (f"UPDATE {TABLE} SET processing_status = 'processing', processing_server_id = 'node-a', "
             f"processing_epoch = 1, processing_token = gen_random_uuid() WHERE id = ")  # fmt: skip
    ask(db, claim + one)
    refused = []

    for step in migration.plan(db):
        applying.run(db, step)
        with pytest.raises(DatabaseError) as error:
            ask(db, claim + two)
        refused.append(isinstance(error.value.__cause__, psycopg.errors.UniqueViolation))

    assert len(refused) == 3
    assert all(refused)
    assert migration.missing(db) == []


def test_a_second_upgrade_finds_what_the_first_has_left_and_goes_on(fresh: tuple[Database, str]) -> None:
    db, expected = fresh
    for statement in CHANGED["index with another predicate"][0].split(";"):
        ask(db, statement)
    # An upgrade that ended before its last statement, and then another version.
    ask(db, f"CREATE INDEX {TABLE}_superseded_ended ON {TABLE} (processing_server_id)")

    migration.migrate(db)

    assert migration.missing(db) == []
    assert dump(db) == expected


def test_a_rollback_in_the_middle_of_an_upgrade_leaves_nothing(older: Database, settings: Settings) -> None:
    for step in migration.plan(older)[:3]:
        applying.run(older, step)

    migration.rollback(older)

    with application(settings) as connection:
        left = run(connection, "SELECT relname::text AS n FROM pg_class WHERE relname ~ 'superseded|processing_' "
                               "AND relkind IN ('r', 'i')")  # fmt: skip
    assert left == []


def test_psql_migrates_also_as_a_role_that_may_make_no_temporary_tables(bare: Database) -> None:
    role = f"owner_{uuid.uuid4().hex[:8]}"
    ask(bare, "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', current_database()); END $$")
    ask(bare, f"CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}; ALTER TABLE {TABLE} OWNER TO {role}")
    url = f"{bare.settings.database_url}?options=-crole%3D{role}"

    done = psql(dataclasses.replace(bare.settings, database_url=url), "-f", "sql/migrate.sql")
    missing = migration.missing(bare)

    ask(bare, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert done.returncode == 0, done.stderr
    assert missing == []
