"""What a migration reads of its own notes in the history: those of its kind, and of its table."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.database import Database
from tests.support.nodes import ask
from tests.support.tables import files, put

T = "dev_uploaded_files"


def noted(
    db: Database, outcome: str, *, kind: str = "migrate", table: str | None = T, reason: str = "", **more: Any
) -> None:
    details = ", ".join([f"'{name}', {value}" for name, value in more.items()])
    of = "" if table is None else f"'table', '{table}'" + (", " if details else "")
    ask(
        db,
        f"INSERT INTO {db.names['events']} (kind, outcome, actor, reason, details) "
        f"VALUES ('{kind}', '{outcome}', 'a', '{reason}', jsonb_build_object({of}{details}))",
    )


def names(db: Database, statement: str) -> list[str]:
    return [one["name"] for one in db.run(statement)]


def test_the_columns_that_a_migration_added_are_those_noted_of_this_table_that_are_there(db: Database) -> None:
    ask(db, f"DELETE FROM {db.names['events']}")
    ask(db, f"ALTER TABLE {T} ADD COLUMN of_none int, ADD COLUMN of_ours int, ADD COLUMN of_others int")
    ask(db, "CREATE SCHEMA other")
    ask(db, f"CREATE TABLE other.{T} (elsewhere int)")
    ask(db, "CREATE TABLE letters (beside int)")
    noted(db, "columns", added="ARRAY['of_ours', 'elsewhere', 'beside', 'gone']")
    noted(db, "columns", table=None, added="ARRAY['of_none']")
    noted(db, "columns", table="letters", added="ARRAY['of_others']")
    noted(db, "columns", kind="note", added="ARRAY['of_others']")
    noted(db, "lanes", added="ARRAY['of_others']")

    assert names(db, "migrate/added_columns") == ["of_none", "of_ours"]


def test_the_columns_that_a_migration_will_add_are_noted_and_none_where_nothing_is_lacking(db: Database) -> None:
    ask(db, f"DELETE FROM {db.names['events']}")
    db.run("migrate/note_columns")
    assert ask(db, f"SELECT details FROM {db.names['events']}") == []
    ask(db, f"ALTER TABLE {T} DROP COLUMN processing_arrived_at")
    ask(db, "CREATE SCHEMA other")
    ask(db, f"CREATE TABLE other.{T} (processing_arrived_at int)")
    ask(db, "CREATE TABLE letters (processing_arrived_at int)")

    db.run("migrate/note_columns")

    (event,) = ask(db, f"SELECT details FROM {db.names['events']}")
    assert event["details"] == {"table": T, "added": ["processing_arrived_at"]}


def test_of_a_table_that_is_not_there_no_column_is_noted_and_there_is_no_model(db: Database) -> None:
    ask(db, f"DELETE FROM {db.names['events']}")
    ask(db, f"DROP TABLE {T}")

    db.run("migrate/note_columns")

    assert ask(db, f"SELECT details FROM {db.names['events']}") == []
    assert db.run("migrate/model") == []


def test_the_lanes_are_of_the_column_that_was_chosen_last_for_this_table(db: Database) -> None:
    noted(db, "lanes", column="'customer'")
    noted(db, "lanes", table="letters", column="'other'")
    noted(db, "lanes", kind="note", column="'other'")
    noted(db, "columns", column="'other'")

    assert db.run("migrate/chosen_lanes") == [{"lane": "customer"}]


def test_what_was_separated_is_told_in_the_words_of_the_last_separation(db: Database) -> None:
    noted(db, "separated", reason="ours")
    noted(db, "columns", reason="else")
    noted(db, "separated", kind="note", reason="else")

    assert db.run("migrate/separated") == [{"reason": "ours"}]


def test_other_tables_share_a_history_that_have_noted_their_columns_in_it(db: Database) -> None:
    noted(db, "columns", table="letters")
    noted(db, "lanes", table="pictures")
    noted(db, "columns", kind="note", table="pictures")
    noted(db, "columns")

    assert names(db, "migrate/sharing") == ["letters"]


@pytest.mark.parametrize("kind", ["migrate", "requeue"])
def test_a_rollback_loses_the_files_that_have_ended_and_the_events_that_are_not_its_own(
    db: Database, kind: str
) -> None:
    ask(db, f"DELETE FROM {db.names['events']}")
    ended, _ = files(db, "ended", "queued")
    put(db, ended, "processing_status = 'failed'")
    noted(db, "columns", kind=kind)

    assert db.one("migrate/worked") == {"events": int(kind != "migrate"), "files": 1}
