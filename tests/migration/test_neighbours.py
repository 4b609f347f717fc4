"""What a migration reads is its own table's: neither another schema with the same names nor another table counts."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.database import Database
from opskit.migration.comparing import differences
from tests.support.nodes import ask
from tests.support.tables import application, run

T = "dev_uploaded_files"
INDEXES = (
    "queue_index", "held_index", "ended_index", "failed_index", "alike_index", "waiting_index", "events_by_file",
    "events_by_time", "events_by_kind", "events_by_node",
)  # fmt: skip


def beside(db: Database) -> None:
    """Another schema where all has our names and nothing is ours, and tables of the application's in this one."""
    given = db.names
    body = "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
    texts = ["CREATE SCHEMA other"]
    for key in ("files", "nodes", "events", "pauses", "logs"):
        texts.append(
            f"CREATE TABLE other.{given[key]} (id int DEFAULT 1, processing_queued_at date DEFAULT '2020-01-01')"
        )
    for table in ("letters", "uploaded_files"):
        columns = ", ".join(f"c{n} int DEFAULT {n}" for n in range(25))
        texts.append(f"CREATE TABLE public.{table} (processing_queued_at date DEFAULT '2020-01-01', {columns})")
    for key in INDEXES:
        texts.append(f"CREATE UNIQUE INDEX {given[key]} ON other.{T} (id)")
    texts.append("CREATE INDEX broken ON public.letters (c1)")
    for key in ("guard", "wake"):
        texts.append(f"CREATE FUNCTION other.{given[key]}() RETURNS trigger {body}")
        texts.append(f"CREATE FUNCTION public.{given[key]}(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    for key in ("guard", "guard_new", "wake"):
        for table in (f"other.{T}", "public.letters"):
            texts.append(
                f"CREATE TRIGGER {given[key]} BEFORE DELETE ON {table} FOR EACH ROW "
                f"EXECUTE FUNCTION other.{given['guard']}()"
            )
            texts.append(f"ALTER TABLE {table} DISABLE TRIGGER {given[key]}")
    for key in ("state_check", "fence_check"):
        for table in (f"other.{T}", "public.letters"):
            texts.append(f"ALTER TABLE {table} ADD CONSTRAINT {given[key]} CHECK (processing_queued_at IS NOT NULL)")
    texts.append(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN (SELECT oid FROM pg_class "
        "WHERE relnamespace = 'other'::regnamespace) OR indexrelid = 'public.broken'::regclass"
    )
    with application(db.settings) as own:
        for text in texts:
            run(own, text)


READ = (
    "migrate/there", "migrate/standing", "migrate/broken_indexes", "migrate/refuse", "migrate/refuse_columns",
    "migrate/refuse_names", "migrate/refuse_rights",
)  # fmt: skip


def test_what_is_read_of_a_table_is_the_same_where_others_have_its_names(db: Database) -> None:
    def read() -> dict[str, list[Any]]:
        return {name: sorted(map(str, map(dict, db.run(name)))) for name in READ}

    before = read()
    beside(db)

    assert read() == before
    assert before["migrate/broken_indexes"] == []
    assert db.one("migrate/standing")["lacking"] is None
    assert differences(db) == []


def test_a_default_that_the_application_has_given_a_column_is_its_own(db: Database) -> None:
    ask(db, f"ALTER TABLE {T} ALTER deleted SET DEFAULT true")

    assert differences(db) == []


CHANGED = {
    "guard": ("ALTER FUNCTION {guard}() SECURITY DEFINER", "guard", "the function {guard} has another definition"),
    "wake": ("ALTER FUNCTION {wake}() SECURITY DEFINER", "wake", "the function {wake} has another definition"),
    "trigger": (
        "CREATE OR REPLACE TRIGGER {guard} AFTER UPDATE ON {files} FOR EACH ROW EXECUTE FUNCTION {guard}()",
        "guard", "the trigger {guard} has another definition",
    ),
    "default": (
        "ALTER TABLE {files} ALTER processing_queued_at SET DEFAULT '2020-01-01'",
        "columns", "the default of processing_queued_at is another one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGED)
def test_what_is_mended_by_running_a_part_again_is_named_with_its_part(db: Database, what: str) -> None:
    text, part, phrase = (one.format(**db.names) for one in CHANGED[what])
    ask(db, text)

    assert [(one.part, one.phrase) for one in differences(db)] == [(part, phrase)]
