"""Which columns a new row fills, which it asks for, and what it makes of a table's own rules: each at its edge."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest

from opskit.database import Database
from opskit.errors import DatabaseError, SettingError
from opskit.queue.new_rows import insert_form, insert_one
from tests.support.nodes import ask
from tests.support.tables import application, files, row, run


def queued(db: Database, **columns: str) -> str:
    """Queue one file; its row's id."""
    form = insert_form(db, columns)
    with db.connection() as connection:
        return insert_one(connection, db.settings.files, form, ("/a.csv", "a.csv", 7))


def altered(db: Database, *changes: str) -> None:
    for change in changes:
        ask(db, f"ALTER TABLE {db.settings.files} {change}")


def refused(db: Database, columns: Mapping[str, str]) -> str:
    with pytest.raises(SettingError) as error:
        insert_form(db, columns)
    return str(error.value)


@pytest.mark.parametrize(("column", "asked"), [("more text NOT NULL", True), ("more text NOT NULL DEFAULT 'x'", False),
    ("more text", False), ("more int GENERATED ALWAYS AS IDENTITY", False),
    ("more int NOT NULL GENERATED ALWAYS AS (1) STORED", False)])  # fmt: skip
def test_a_column_is_asked_for_that_needs_a_value_and_has_none(db: Database, column: str, asked: bool) -> None:
    altered(db, f"ADD COLUMN {column}")
    if asked:
        assert f"{db.settings.files}.more needs a value" in refused(db, {})
        assert row(db, queued(db, more="given"))["more"] == "given"
    else:
        assert row(db, queued(db))["original_filename"] == "a.csv"


def test_the_columns_that_opskit_fills_are_not_asked_for_though_they_need_a_value(db: Database) -> None:
    names = ("original_filename", "storage_path", "file_size", "processing_status", "uploaded_at")
    altered(db, *(f"ALTER COLUMN {name} SET NOT NULL" for name in names), "ALTER COLUMN uploaded_at DROP DEFAULT")

    found = row(db, queued(db))

    assert (found["storage_path"], found["file_size"], found["processing_status"]) == ("/a.csv", 7, "queued")
    assert found["uploaded_at"].year > 2020
    assert row(db, queued(db, uploaded_at="2020-01-01"))["uploaded_at"].year == 2020


def test_the_upload_is_now_where_the_table_does_not_say_it(db: Database) -> None:
    altered(db, "ALTER COLUMN uploaded_at SET DEFAULT '2020-01-01'")

    assert row(db, queued(db))["uploaded_at"].year == 2020


@pytest.mark.parametrize("name", ["processing_errors", "original_filename", "storage_path", "file_size"])
def test_a_column_that_is_opskits_cannot_be_given(db: Database, name: str) -> None:
    assert refused(db, {name: "1"}) == f"{name} is set by opskit itself; it cannot be given"
    assert refused(db, {"nothing": "1"}) == f"{db.settings.files} has no column 'nothing'"


@pytest.mark.parametrize("kind", ["text", "uuid", "varchar(36)", "char(36)"])
def test_an_id_is_made_where_neither_the_table_nor_the_caller_gives_one(db: Database, kind: str) -> None:
    altered(db, "ALTER COLUMN id DROP IDENTITY", f"ALTER COLUMN id TYPE {kind} USING NULL")
    given = str(uuid.uuid4())

    assert uuid.UUID(queued(db)).version == 4
    assert queued(db, id=given) == given


def test_an_id_of_numbers_without_a_default_is_asked_for(db: Database) -> None:
    altered(db, "ALTER COLUMN id DROP IDENTITY")

    assert "the column id is bigint without a default" in refused(db, {})
    assert queued(db, id="7") == "7"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("RETURN NULL", "keeps its row out"),
        ("NEW.processing_status := ''failed''; RETURN NEW", "makes its processing_status 'failed', not 'queued'"),
    ],
)
def test_a_file_that_a_trigger_of_the_table_does_not_queue_is_not_said_to_be_queued(
    db: Database, body: str, sentence: str
) -> None:
    with application(db.settings) as own:
        run(own, f"CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; END'")
        run(own, f"CREATE TRIGGER a BEFORE INSERT ON {db.settings.files} FOR EACH ROW EXECUTE FUNCTION other()")

    with pytest.raises(DatabaseError, match=sentence):
        queued(db)


# -- requeue of what an act has left -----------------------------------------------------------


def test_of_files_that_are_named_with_their_attempts_those_are_requeued_that_failed_at_them(db: Database) -> None:
    ids = files(db, "a", "b", "c", "d", processing_attempt=3)
    ask(db, f"UPDATE {db.settings.files} SET processing_status = 'failed' WHERE id <> %s", int(ids[2]))
    ask(db, f"UPDATE {db.settings.files} SET processing_status = 'completed' WHERE id = %s", int(ids[2]))
    ask(db, f"UPDATE {db.settings.files} SET processing_attempt = 4 WHERE id = %s", int(ids[1]))

    found = db.run(
        "requeue", which="ids", ids=ids[:3], attempts=[f"{id}/3" for id in ids], error="", server_id="",
        cancelled=False, row_limit=10, before="", actor="me", reason="",
    )  # fmt: skip

    assert [one["id"] for one in found] == ids[:1]
