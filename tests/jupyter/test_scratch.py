"""A scratch: a schema of one's own in which everything is tried without harm."""

from __future__ import annotations

import dataclasses
import time
import uuid

import pytest

from opskit import jupyter, migration, queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError, OpskitError
from opskit.queue import claims, nodes
from opskit.settings import Settings
from tests.support.nodes import add_files, ask
from tests.support.notebooks import scratches


def test_a_scratch_begins_empty_and_leaves_nothing_behind(db: Database) -> None:
    add_files(db, "real.csv")

    house = dataclasses.replace(db.settings, processor="ledger:process", stale_after_seconds=7)
    with Database(house) as ours, jupyter.scratch(ours, lease_seconds=7) as scratch:
        assert scratch.settings.lease_seconds == 7
        assert scratch.settings.stale_after_seconds == 3600
        assert scratch.settings.processor == "opskit.processors:inspect_file"
        assert migration.missing(scratch)
        migration.migrate(scratch)
        assert not scratch.run("any_file")
        add_files(scratch, "played.csv")
        migration.rollback(scratch)
        assert scratches(db) == [scratch.schema]

    assert scratches(db) == []
    assert migration.check(db)
    assert [row["original_filename"] for row in ask(db, f"SELECT original_filename FROM {db.settings.files}")] == [
        "real.csv"
    ]


def test_a_copy_is_the_table_as_the_application_made_it_without_the_contents(settings: Settings) -> None:
    with Database(settings) as db:
        ask(
            db,
            f"""CREATE TABLE {settings.files} (
                    id serial PRIMARY KEY, original_filename text NOT NULL, file_content bytea NOT NULL,
                    size_class text GENERATED ALWAYS AS (upper(original_filename)) STORED, processed boolean,
                    CHECK (original_filename <> ''))""",
        )
        ask(
            db,
            f"INSERT INTO {settings.files} (original_filename, file_content) "
            "SELECT 'file-' || n, '\\x00' FROM generate_series(1, 5) AS n",
        )
        migration.migrate(db)

        with jupyter.scratch(db, rows=3) as scratch:
            rows = ask(scratch, f"SELECT * FROM {settings.files} ORDER BY id")
            assert scratch.copied == 3
            assert [row["original_filename"] for row in rows] == ["file-3", "file-4", "file-5"]
            assert rows[0]["size_class"] == "FILE-3"
            assert rows[0].keys() == {
                "id", "original_filename", "file_content", "size_class", "processed", "storage_path", "file_size",
                "uploaded_at", "deleted",
            }  # fmt: skip
            assert rows[0]["file_content"] is None
            with pytest.raises(DatabaseError, match="check constraint"):
                ask(scratch, f"UPDATE {settings.files} SET original_filename = ''")
            with pytest.raises(DatabaseError, match="null value"):
                ask(scratch, f"INSERT INTO {settings.files} (original_filename) VALUES ('x')")
            migration.migrate(scratch)
            assert migration.check(scratch)
        assert ask(db, f"SELECT last_value FROM {settings.files}_id_seq") == [{"last_value": 5}]


def test_a_scratch_of_a_table_that_is_missing_is_empty(settings: Settings) -> None:
    with Database(settings) as db, jupyter.scratch(db, rows=10) as scratch:
        assert scratch.copied == 0
        assert scratch.run("columns") == []


def test_options_of_the_url_are_kept_and_the_way_back_to_the_real_tables_is_closed(settings: Settings) -> None:
    url = f"{settings.database_url}?options=-csearch_path%3Dpublic%20-cstatement_timeout%3D61000"
    with Database(dataclasses.replace(settings, database_url=url)) as db, jupyter.scratch(db) as scratch:
        assert ask(scratch, "SELECT current_schemas(false) AS path, current_setting('statement_timeout') AS t") == [
            {"path": [scratch.schema], "t": "61s"}
        ]


def test_behind_a_pooler_there_is_no_scratch(db: Database) -> None:
    # One connection: a pool that opens another meanwhile looks again, and finds none.
    with Database(db.settings, pooled=False) as one:
        with one.connection():
            one.pooler = True

        with pytest.raises(OpskitError, match="leads through a pooler"):
            jupyter.scratch(one)

    assert scratches(db) == []


def test_scratches_of_killed_processes_go_after_a_day(db: Database) -> None:
    now = int(time.time())
    old, young, other = f"opskit_scratch_{now - 90000}_aa", f"opskit_scratch_{now - 80000}_bb", "opskit_scratch_mine"
    for name in (old, young, other):
        ask(db, f"CREATE SCHEMA {name}")
        ask(db, f"CREATE TABLE {name}.{db.settings.files} (id int)")

    with jupyter.scratch(db) as scratch:
        assert set(scratches(db)) == {young, other, scratch.schema}


def test_time_passes_in_the_scratch_alone(db: Database) -> None:
    real = nodes.register(db, "node-a", str(uuid.uuid4()))
    with jupyter.scratch(db) as scratch:
        migration.migrate(scratch)
        add_files(scratch, "one.csv")
        played = nodes.register(scratch, "node-a", str(uuid.uuid4()))
        assert real is not None
        assert played is not None
        claims.claim(scratch, played)

        scratch.pass_time(minutes=90, seconds=30)

        assert stats.nodes(scratch)["state"].tolist() == ["dead"]
        assert stats.longest_running(scratch)["minutes_processing"].iloc[0] == pytest.approx(90.5, abs=0.1)
        assert queue.preview(scratch)[0]["verdict"] == "silent"
        scratch.pass_time(seconds=3)
        assert [row["outcome"] for row in queue.cleanup(scratch, actor="me").ended] == ["queued"]
    assert stats.nodes(db)["seconds_since_heartbeat"].iloc[0] < 60


@pytest.mark.slow
def test_nodes_that_cannot_work_are_one_sentence(db: Database) -> None:
    with Database(dataclasses.replace(db.settings, processor="no.such:thing")) as broken:
        add_files(broken, "one.csv")
        with pytest.raises(OpskitError, match=r"^node-a ended with exit code \d+: "):
            jupyter.work(broken, "node-a", "node-b")
