"""The application's own table: any shape goes through the whole cycle, and nothing of the application's changes."""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from opskit import migration, queue, stats
from opskit.database import Database
from opskit.database.session import Connection
from opskit.errors import DatabaseError, MigrationRefusedError, OpskitError, SettingError
from opskit.queue import claims
from opskit.settings import Settings
from tests.support.tables import (
    SHAPES,
    TIMES,
    Shape,
    application,
    attempts,
    boot,
    catalog,
    change,
    claim,
    claimed,
    fail,
    files,
    insert,
    opskit,
    psql,
    put,
    row,
    rows,
    run,
    tables_of,
)

TABLE = "dev_uploaded_files"
WEIRD = [
    'we"ird; DROP TABLE x',
    "50% of %s %(id)s",
    "it's a \"b\" 'c'",
    "Übergrößen 表",
    "select",
    "a:b::c :'d'",
    "$$;--/*",
]

PLAIN = SHAPES[:: len(TIMES)]  # each type of id once


@pytest.fixture
def bare(settings: Settings) -> Iterator[Database]:
    """A database that opskit has never seen."""
    with Database(settings, pooled=False) as database:
        yield database


def migrated(db: Database, shape: Shape) -> Database:
    """That database with the application's table of a shape, migrated and cut over."""
    with application(db.settings) as connection:
        shape.create(connection, db.settings.files)
    migration.migrate(db)
    migration.queue_new(db)
    return db


def uploads(folder: Path, *names: str) -> list[Path]:
    """Small files to be queued."""
    paths = [folder / name for name in names]
    for path in paths:
        path.write_text("a,b\n")
    return paths


# -- migrating -------------------------------------------------------------------------------


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
    assert "'pending' (1 rows)" in done.stderr


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


# -- the whole cycle -------------------------------------------------------------------------


def cycle(db: Database, new: Any) -> list[str]:
    """Claim, complete, fail, release, clean up, requeue: every verb once, judged by its answers and the rows."""
    ids = [new(name) for name in ("completes", "fails", "rejects", "goes back", "gets stuck", "is orphaned")]
    node = boot(db, "node-a", lease_seconds=600.0)
    take = dict(zip(("done", "fails", "rejects", "back", "stuck", "orphan"), ids, strict=True))

    first = claim(db, node)
    assert first.row is not None
    assert first.row["id"] == take["done"]
    second = claims.complete_and_claim(
        db, node, id=take["done"], done_token=first.token, result={"n": 1}, after=first.cursor, token=claims.new_token()
    )
    assert second is not None
    assert second.row is not None
    assert second.row["id"] == take["fails"]
    assert row(db, take["done"])["processing_status"] == "completed"
    assert fail(db, take["fails"], second.token, retry_seconds=60.0) == "queued"
    assert fail(db, take["rejects"], claims.claim_one(db, node, take["rejects"]).token, outcome="rejected") == "failed"
    back = claims.claim_one(db, node, take["back"])
    assert claims.release(db, id=take["back"], token=back.token, reason="drained", actor="node-a") == "queued"
    with claims.completing(db, id=take["back"], token=claims.claim_one(db, node, take["back"]).token) as tx:
        tx.execute("SELECT 1")

    claims.claim_one(db, boot(db, "dies", lease_seconds=600.0), take["orphan"])
    claims.claim_one(db, node, take["stuck"])
    with db.connection() as connection:
        run(connection, "DELETE FROM {} WHERE server_id = 'node-a'", sql.Identifier(db.names["nodes"]))
        run(connection, "UPDATE {} SET lease_until = now() - interval '1 minute'", sql.Identifier(db.names["nodes"]))
    put(db, take["stuck"], "processing_started_at = processing_started_at - interval '2 hours'")
    looked = queue.cleanup(db, actor="test")
    assert [(each["id"], each["outcome"]) for each in looked.ended] == [(take["stuck"], "failed")]
    assert [each["id"] for each in looked.pending] == [take["orphan"]]
    with db.connection() as connection:
        run(connection, "UPDATE {} SET looked_at = now() - interval '3 seconds'", sql.Identifier(db.names["nodes"]))
    (suspect,) = queue.preview(db)
    assert (suspect["verdict"], suspect["would_become"]) == ("dead", "queued")
    cleaned = queue.cleanup(db, claims=[suspect["claim"]], actor="test")
    assert [(each["id"], each["outcome"]) for each in cleaned.ended] == [(take["orphan"], "queued")]

    requeued = queue.requeue(db, [take["rejects"]], actor="test")
    assert [each["id"] for each in requeued] == [take["rejects"]]
    states = {name: row(db, id)["processing_status"] for name, id in take.items()}
    assert states == {
        "done": "completed", "fails": "queued", "rejects": "queued", "back": "completed",
        "stuck": "failed", "orphan": "queued",
    }  # fmt: skip
    return ids


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_goes_through_the_whole_cycle_on_any_table(bare: Database, shape: Shape) -> None:
    migrated(bare, shape)

    with application(bare.settings) as connection:
        ids = cycle(bare, lambda name: shape.insert(connection, TABLE, original_filename=name))

    # Whatever the column's type, the times are UTC: seconds old, not hours off.
    with bare.connection() as connection:
        ages = rows(
            connection,
            TABLE,
            """
            id::text AS id, extract(epoch FROM clock_timestamp() - processing_completed_at) AS completed,
            extract(epoch FROM clock_timestamp() - processing_started_at) / 3600 AS started""",
            "processing_queued_at",
        )
    assert {age["id"] for age in ages} == set(ids)
    assert all(0 <= age["completed"] < 60 for age in ages if age["completed"] is not None)
    assert {round(age["started"]) for age in ages if age["started"] is not None} == {0, 2}


@pytest.mark.parametrize("shape", SHAPES)
def test_files_are_queued_on_any_table(bare: Database, shape: Shape, tmp_path: Path) -> None:
    migrated(bare, shape)
    paths = uploads(tmp_path, "a.csv", "b.csv")

    count = queue.enqueue(bare, paths)
    known = queue.enqueue(bare, [tmp_path], skip_known=True)

    assert (count, known) == (2, 0)
    with bare.connection() as connection:
        found = rows(connection, TABLE, "*, extract(epoch FROM clock_timestamp() - uploaded_at) AS age", "storage_path")
    assert [
        (each["original_filename"], each["storage_path"], each["file_size"], each["processing_status"])
        for each in found
    ] == [(path.name, str(path), 4, "queued") for path in paths]
    assert all(0 <= each["age"] < 60 for each in found)
    assert len({each["id"] for each in found}) == 2
    if shape.id in ("text", "uuid"):
        assert all(uuid.UUID(str(each["id"])).version == 4 for each in found)
    answer = claim(bare, boot(bare))
    assert answer.row is not None
    assert answer.row["original_filename"] == "a.csv"


@pytest.mark.parametrize("type", ["integer", "bigint", "smallint", "numeric"])
def test_an_integer_id_without_default_is_refused_with_a_hint_that_works(
    bare: Database, type: str, tmp_path: Path
) -> None:
    with application(bare.settings) as connection:
        run(connection, f"CREATE TABLE {TABLE} (id {type} PRIMARY KEY)")
    migration.migrate(bare)
    (path,) = uploads(tmp_path, "a.csv")

    with pytest.raises(SettingError, match=f"id is {type} without a default.*--set id="):
        queue.enqueue(bare, [path])
    count = queue.enqueue(bare, [path], columns={"id": "17"})

    assert count == 1
    assert bare.one("file", id="17")["original_filename"] == "a.csv"


def test_a_column_that_opskit_does_not_know_is_asked_for_by_name_and_can_be_set(bare: Database, tmp_path: Path) -> None:
    with application(bare.settings) as connection:
        run(
            connection,
            f"""CREATE TABLE {TABLE} (id serial PRIMARY KEY, file_type text NOT NULL,
                                                 owner text NOT NULL DEFAULT 'nobody')""",
        )
    migration.migrate(bare)
    (path,) = uploads(tmp_path, "a.csv")

    without = opskit(bare.settings, "enqueue", str(path))
    unknown = opskit(bare.settings, "enqueue", "--set", "fie_type=merchant", str(path))
    given = opskit(bare.settings, "enqueue", "--json", "--set", "file_type=merchant", str(path))

    assert (without.returncode, unknown.returncode, given.returncode) == (1, 1, 0)
    assert without.stderr.count("\n") == 1
    assert "dev_uploaded_files.file_type needs a value" in without.stderr
    assert "--set file_type=" in without.stderr
    assert "has no column 'fie_type'" in unknown.stderr
    assert json.loads(given.stdout)["count"] == 1
    with bare.connection() as connection:
        (found,) = rows(connection, TABLE)
    assert (found["file_type"], found["owner"], found["processing_status"]) == ("merchant", "nobody", "queued")


@pytest.mark.parametrize("given", [
    {"uploaded_at": "2020-01-01 12:00"},
    {"note": "x", "uploaded_at": "2020-01-01 12:00"},
    {"uploaded_at": "2020-01-01 12:00", "note": "x"},
])  # fmt: skip
@pytest.mark.parametrize("id", ["serial", "text"])
def test_any_column_of_the_applications_can_be_set(
    bare: Database, id: str, given: dict[str, str], tmp_path: Path
) -> None:
    migrated(bare, Shape(id, "plain"))
    with application(bare.settings) as connection:
        run(connection, f"ALTER TABLE {TABLE} ADD COLUMN note text, ALTER COLUMN uploaded_at DROP DEFAULT")

    count = queue.enqueue(bare, uploads(tmp_path, "a.csv"), columns=given)

    with bare.connection() as connection:
        (found,) = rows(connection, TABLE)
    assert count == 1
    assert f"{found['uploaded_at']:%Y-%m-%d %H:%M}" == "2020-01-01 12:00"
    assert found["note"] == given.get("note")


@pytest.mark.parametrize("name", ["processing_status", "storage_path", "original_filename", "file_size"])
def test_what_opskit_sets_itself_cannot_be_given(db: Database, name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"{name} is set by opskit itself"):
        queue.enqueue(db, uploads(tmp_path, "a.csv"), columns={name: "1"})

    assert db.run("distribution") == []


@pytest.mark.parametrize("shape", PLAIN)
def test_a_deleted_row_is_never_claimed(bare: Database, shape: Shape) -> None:
    migrated(bare, shape)
    with application(bare.settings) as connection:
        ids = [shape.insert(connection, TABLE, original_filename=name) for name in ("gone", "kept")]
        change(connection, TABLE, ids[0], "deleted = true")
    node = boot(bare)

    first = claim(bare, node)
    second = claims.complete_and_claim(
        bare, node, id=ids[1], done_token=first.token, result=None, after="-infinity", token=claims.new_token()
    )
    done = claims.complete(bare, id=ids[1], token=first.token)
    third = claims.claim(bare, node)

    assert first.row is not None
    assert first.row["id"] == ids[1]
    assert (second, done) == (None, "done")
    assert (third.outcome, third.next_seconds) == ("empty", None)
    assert row(bare, ids[0])["processing_status"] == "queued"


# -- names and values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "env"), [(table, ("development", "production")[n % 2]) for n, table in enumerate(WEIRD)]
)
def test_a_table_may_be_called_anything(settings: Settings, table: str, env: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(settings, table=table, env=env)
    with Database(settings) as db:
        with application(settings) as connection:
            run(connection, "CREATE TABLE x ()")
            Shape("text", "plain").create(connection, settings.files, rows=2)
        migration.migrate(db)
        migration.queue_new(db)
        with application(settings) as connection:
            cycle(db, lambda name: Shape("text", "plain").insert(connection, settings.files, original_filename=name))
        queue.enqueue(db, uploads(tmp_path, "a.csv"), columns={"amount": "3"})
        adopted = queue.adopt(db, "amount = 7", actor="test")
        frames = {name: function(db) for name, function in stats.STATISTICS.items()}

        assert adopted == 2
        assert migration.missing(db) == []
        assert migration.migrate(db) == []
        assert int(frames["concurrency"]["total_files"].iloc[0]) == 9
        assert frames["distribution"]["file_count"].sum() == 9
        assert queue.prune(db, node_days=0) == {"nodes": 1, "events": 0, "logs": 0}
        with application(settings) as connection:
            assert rows(connection, "x", order="ctid") == []


@pytest.mark.parametrize("table", WEIRD)
def test_psql_takes_the_same_weird_names(settings: Settings, table: str) -> None:
    settings = dataclasses.replace(settings, table=table)

    migrated = psql(settings, "-f", "sql/migrate.sql")
    with Database(settings, pooled=False) as db:
        missing = migration.missing(db)
        files(db, "a", "b")
    counted = psql(settings, "-f", "sql/distribution.sql")
    cleaned = psql(settings, "-v", "env=development", "-v", f"table={table}", "-f", "sql/cleanup.sql")

    assert (migrated.returncode, counted.returncode, cleaned.returncode) == (0, 0, 0), migrated.stderr + cleaned.stderr
    assert missing == []
    assert counted.stdout == "processing_server_id,processing_status,file_count\n,queued,2\n"


def test_a_name_too_long_for_its_indexes_is_refused() -> None:
    assert Settings.load({}, table="t" * 40).files == "dev_" + "t" * 40

    with pytest.raises(SettingError, match="at most 40 bytes"):
        Settings.load({}, table="t" * 41)
    with pytest.raises(SettingError, match="at most 40 bytes"):
        Settings.load({}, table="ü" * 21)


def test_the_longest_name_keeps_all_its_indexes(settings: Settings) -> None:
    with Database(dataclasses.replace(settings, table="t" * 40), pooled=False) as db:
        migration.migrate(db)
        (id,) = files(db, "a")

        assert migration.missing(db) == []
        assert claim(db, boot(db)).row["id"] == id  # type: ignore[index]


VALUES = {
    "quotes": 'it\'s "quoted" \\\'\\" $$ ;-- ',
    "percent": "100% %s %(id)s %%",
    "variables": ":id :'id' :\"files\"",
    "lines": "two\nlines\r\n\tand a tab \x1b[31m",
    "other scripts": "表 Ünï 🙂 \u202e",
    "long": "x" * 2**20,
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_names_errors_reasons_and_results_may_be_anything(db: Database, value: str) -> None:
    (id,) = files(db, value)
    node = boot(db, lease_seconds=600.0)
    first = claim(db, node)
    fail(db, id, first.token, error=value, actor=value)
    second = claim(db, node)
    claims.release(db, id=id, token=second.token, reason=value, actor=value)
    third = claim(db, node)
    claims.complete(db, id=id, token=third.token, result={value: [value]})
    found, history = row(db, id), attempts(db, id)
    queue.requeue(db, [id], actor=value, reason=value)
    queue.pause(db, actor=value, reason=value)

    assert first.row is not None
    assert first.row["original_filename"] == found["original_filename"] == value
    assert history[0]["reason"] == history[0]["actor"] == value
    if len(value) < 10_000:
        assert history[1]["reason"] == value
    else:
        assert len(history[1]["reason"]) <= 10_000
        assert "…" in history[1]["reason"]
    assert found["processing_result"] == {value: [value]}
    assert db.run("pauses")[0]["reason"] == value


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "\udcff.csv"])
def test_what_postgresql_cannot_store_is_cleaned_out_of_an_error(db: Database, value: str) -> None:
    id, token = claimed(db)

    outcome = fail(db, id, token, outcome="rejected", error=value)

    assert outcome == "failed"
    stored = row(db, id)["processing_errors"]
    assert re.sub(r"[\ufffd?]", "_", stored) == re.sub(r"[\0\ud800\udcff]", "_", value)


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        ({"name": "a\0b"}, {"name": "a\ufffdb"}),
        ({"a\0b": ["\0", {"c": "\0"}]}, {"a\ufffdb": ["\ufffd", {"c": "\ufffd"}]}),
        ({"path": "C:\\u0000"}, {"path": "C:\\u0000"}),
        ({"rate": float("nan"), "most": float("inf")}, {"rate": "nan", "most": "inf"}),
        ({}, {}),
    ],
)
def test_a_result_is_stored_as_it_is_but_for_what_json_does_not_know(
    db: Database, result: dict[str, Any], stored: dict[str, Any]
) -> None:
    id, token = claimed(db)

    claims.complete(db, id=id, token=token, result=result)

    assert row(db, id)["processing_result"] == stored


@pytest.mark.parametrize("what", ["enqueue", "requeue", "pause", "cleanup"])
def test_a_value_with_nul_is_refused_in_one_sentence_and_nothing_is_done(
    db: Database, what: str, tmp_path: Path
) -> None:
    with application(db.settings) as connection:
        run(connection, f"ALTER TABLE {TABLE} ADD COLUMN note text")
    (path,) = uploads(tmp_path, "a.csv")
    before = db.run("events", file_id="", kind="", row_limit=100)
    actions = {
        "enqueue": lambda: queue.enqueue(db, [path], columns={"note": "a\0b"}),
        "requeue": lambda: queue.requeue(db, failed=True, reason="a\0b", actor="me"),
        "pause": lambda: queue.pause(db, actor="me", reason="a\0b"),
        "cleanup": lambda: queue.cleanup(db, actor="me", reason="a\0b"),
    }

    with pytest.raises(DatabaseError, match="NUL") as refused:
        actions[what]()

    assert isinstance(refused.value, OpskitError)
    assert "\0" not in str(refused.value)
    assert db.run("distribution") == []
    assert db.run("events", file_id="", kind="", row_limit=100) == before


@pytest.mark.parametrize("name", ["it's.csv", "50%.csv", 'a"b.csv', "a\nb.csv", "a\tb\\N.csv", "\\.csv", "表.csv"])
def test_a_file_of_any_name_is_queued_under_it(db: Database, name: str, tmp_path: Path) -> None:
    paths = uploads(tmp_path, name)

    queue.enqueue(db, paths)

    answer = claim(db, boot(db))
    assert answer.row is not None
    assert (answer.row["original_filename"], answer.row["storage_path"]) == (name, str(paths[0]))


def test_ids_of_text_may_be_anything(bare: Database) -> None:
    migrated(bare, Shape("text", "zoned"))
    odd = ["it's", 'a "b", {c}', "back\\slash", "50%", "", "a/b", "NULL", "表"]
    with application(bare.settings) as connection:
        for id in odd:
            insert(connection, TABLE, id=id, original_filename="x")
    node = boot(bare, lease_seconds=600.0)
    for id in odd:
        fail(bare, id, claims.claim_one(bare, node, id).token, outcome="rejected")

    requeued = queue.requeue(bare, odd, actor="me")
    with application(bare.settings) as connection:
        run(
            connection,
            f"UPDATE {TABLE} SET processing_status = 'processing', processing_started_at = now() - interval '2 h'",
        )
    named = [each["claim"] for each in queue.preview(bare)]
    cleaned = queue.cleanup(bare, claims=named[:3], actor="me")

    assert {each["id"] for each in requeued} == set(odd)
    assert sorted(named) == sorted(f"{id}/" for id in odd)
    assert [each["claim"] for each in cleaned.ended] == named[:3]


# -- zones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["database", "role", "url", "PGTZ", "TZ", "PGOPTIONS"])
@pytest.mark.parametrize(
    ("time", "pooled"),
    [("plain", True), ("plain", False), ("zoned", False)],
    ids=["plain, pooled", "plain, its own connection", "zoned, its own connection"],
)
def test_a_ten_minute_old_claim_is_ten_minutes_old_in_any_zone(
    settings: Settings, where: str, pooled: bool, time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database(settings, pooled=False) as bare:
        migrated(bare, Shape("identity", time))
        (id,) = files(bare, "a")
        utc = "now() AT TIME ZONE 'UTC'" if time == "plain" else "now()"
        claims.claim_one(bare, boot(bare, lease_seconds=600.0), id)
        put(bare, id, f"processing_started_at = {utc} - interval '10 minutes'")
    if where in ("database", "role"):
        with application(settings) as connection:
            database, role = sql.Identifier(connection.info.dbname), sql.Identifier(connection.info.user)
            if where == "database":
                run(connection, "ALTER DATABASE {} SET timezone = 'Asia/Kolkata'", database)
            else:
                run(connection, "ALTER ROLE {} IN DATABASE {} SET timezone = 'Asia/Kolkata'", role, database)
    elif where == "url":
        url = f"{settings.database_url}?options=-c%20timezone%3DAsia/Kolkata"
        settings = dataclasses.replace(settings, database_url=url)
    else:
        monkeypatch.setenv(where, "-c timezone=Asia/Kolkata" if where == "PGOPTIONS" else "Asia/Kolkata")

    with Database(settings, pooled=pooled) as db:
        (found,) = db.run("stale", stale_after_seconds=3600, look_seconds=2, every=True)
        (longest,) = db.run("longest_running", row_limit=10)
        ended = queue.cleanup(db, actor="test").ended

    assert found["minutes_processing"] == pytest.approx(10, abs=0.2)
    assert longest["minutes_processing"] == pytest.approx(10, abs=0.2)
    assert (found["verdict"], ended) == ("alive", [])


@pytest.mark.parametrize("time", ["plain", "zoned"])
def test_the_start_that_the_guard_gives_is_now_whatever_the_applications_zone(bare: Database, time: str) -> None:
    migrated(bare, Shape("identity", time))
    (id,) = files(bare, "a")

    with application(bare.settings) as connection:
        run(connection, "SET timezone = 'Asia/Kolkata'")
        change(connection, TABLE, id, "processing_status = 'processing', processing_server_id = 'old'")

    (found,) = queue.preview(bare, every=True)
    assert found["minutes_processing"] == pytest.approx(0, abs=1)


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
