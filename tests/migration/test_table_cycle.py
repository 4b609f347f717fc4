"""A file's whole cycle on any shape of table."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from opskit import migration, queue
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from tests.support.shapes import PLAIN, cycle, migrated, uploads
from tests.support.tables import SHAPES, Shape, application, boot, change, claim, opskit, row, rows, run

TABLE = "dev_uploaded_files"


@pytest.mark.fast_cases(4)
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


@pytest.mark.fast_cases(4)
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


@pytest.mark.fast_cases(3)
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


@pytest.mark.fast_cases(3)
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
