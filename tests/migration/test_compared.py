"""What lacks or differs of a migrated table is told, with the statements that mend it, and nothing else is."""

from __future__ import annotations

import pytest

from opskit.database import Database
from opskit.migration.comparing import differences
from tests.support.nodes import ask

T = "dev_uploaded_files"
NODES = "dev_processing_nodes"
QUEUE, SUPERSEDED = "dev_uploaded_files_processing_queue", "dev_uploaded_files_superseded_queue"

# -- what no promise can be kept without ---------------------------------------------------------


def beside(db: Database) -> None:
    """What may be lacking is there in another schema, and on another table of this one."""
    ask(db, "CREATE SCHEMA other")
    for table in (T, NODES):
        ask(db, f"CREATE TABLE other.{table} (LIKE {table} INCLUDING ALL)")
        ask(db, f"CREATE TABLE letters_of_{table} (LIKE {table} INCLUDING ALL)")
    held = db.names["held_index"]
    ask(db, f"CREATE UNIQUE INDEX {held} ON other.{T} (id)")
    for key in ("guard", "guard_new"):
        for table in (f"other.{T}", f"letters_of_{T}"):
            ask(
                db,
                f"CREATE TRIGGER {db.names[key]} BEFORE UPDATE ON {table} FOR EACH ROW "
                f"EXECUTE FUNCTION {db.names['guard']}()",
            )


LACKING = {
    "table": ("DROP TABLE {pauses}", "{pauses} is missing"),
    "no table": ("ALTER TABLE {files} RENAME TO away; CREATE VIEW {files} AS TABLE away", "{files} is no plain table"),
    "column": ("ALTER TABLE {files} DROP processing_failure", "column processing_failure of {files} is missing"),
    "column of nodes": ("ALTER TABLE {nodes} DROP lanes", "column lanes of {nodes} is missing"),
    "trigger": ("DROP TRIGGER {guard_new} ON {files}", "the trigger {guard_new} is missing"),
    "index": ("DROP INDEX {held_index}", "the index {held_index} is missing"),
    "unique": ("DROP INDEX {held_index}; CREATE INDEX {held_index} ON {files} (id)",
               "the index {held_index} is missing"),
    "valid": ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{held_index}'::regclass",
              "the index {held_index} is missing"),
    "elsewhere": ("DROP INDEX {held_index}; CREATE UNIQUE INDEX {held_index} ON letters_of_dev_uploaded_files (id)",
                  "the index {held_index} is missing"),
    "set aside": ("ALTER INDEX {held_index} RENAME TO {old_held_index}", None),
}  # fmt: skip


@pytest.mark.parametrize("what", LACKING)
def test_what_lacks_of_a_table_is_told_although_another_has_it(db: Database, what: str) -> None:
    texts, lacking = LACKING[what]
    beside(db)
    assert db.one("migrate/standing")["lacking"] is None

    for text in texts.split("; "):
        ask(db, text.format(**db.names))

    assert db.one("migrate/standing")["lacking"] == (lacking and lacking.format(**db.names))


# -- what differs --------------------------------------------------------------------------------


def told(db: Database) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.part, one.phrase, one.statements) for one in differences(db)]


def column_is(db: Database, column: str) -> list[dict[str, str | None]]:
    return ask(
        db,
        "SELECT data_type, is_nullable, column_default FROM information_schema.columns "
        f"WHERE table_schema = 'public' AND table_name = '{NODES}' AND column_name = %s",
        column,
    )


ASIDE = f"ALTER INDEX IF EXISTS public.{QUEUE} RENAME TO {SUPERSEDED}"


@pytest.mark.parametrize("index", [f"INDEX {QUEUE} ON {T} (id)", f"UNIQUE INDEX {QUEUE} ON {T} (original_filename)"])
def test_an_index_of_another_definition_is_set_aside(db: Database, index: str) -> None:
    ask(db, f"DROP INDEX {QUEUE}")
    ask(db, f"CREATE {index}")

    assert told(db) == [("outdated", f"{QUEUE} has another definition", (ASIDE,))]
    ask(db, f"CREATE INDEX {SUPERSEDED} ON {T} (id)")
    clear = f"DROP INDEX CONCURRENTLY IF EXISTS public.{SUPERSEDED}"
    assert told(db) == [("outdated", f"{QUEUE} has another definition", (clear, ASIDE))]


def test_an_index_that_is_unique_where_ours_is_not_is_set_aside_and_one_that_is_not_valid_is_not(db: Database) -> None:
    (found,) = ask(db, "SELECT pg_get_indexdef(%s::regclass) AS text", QUEUE)
    ask(db, f"DROP INDEX {QUEUE}")
    ask(db, found["text"].replace("CREATE INDEX", "CREATE UNIQUE INDEX"))

    assert [one[1] for one in told(db)] == [f"{QUEUE} has another definition"]
    ask(db, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{QUEUE}'::regclass")
    assert told(db) == []


@pytest.mark.parametrize(
    ("column", "type"),
    [
        ("state", "text DEFAULT 'active'::text NOT NULL"),
        ("memory_bytes", "bigint"),
        ("probe_seconds", None),
    ],
)
def test_a_column_of_the_nodes_that_is_missing_is_added_as_it_was(db: Database, column: str, type: str | None) -> None:
    before = column_is(db, column)
    ask(db, f"ALTER TABLE {NODES} DROP {column} CASCADE")
    ask(db, "CREATE SCHEMA other")
    ask(db, f"CREATE TABLE other.{NODES} ({column} int DEFAULT 99)")
    ask(db, f"CREATE TABLE letters ({', '.join(f'c{n} int DEFAULT {n}' for n in range(50))})")
    (found,) = [one for one in told(db) if one[1].startswith("column")]

    assert (found[0], found[1]) == ("beside", f"column {column} of {NODES} is missing")
    if type is not None:
        assert found[2] == (f"ALTER TABLE public.{NODES} ADD COLUMN IF NOT EXISTS {column} {type}",)
    ask(db, found[2][0])
    assert column_is(db, column) == before


def test_a_check_of_the_nodes_that_is_missing_or_another_is_made_again(db: Database) -> None:
    name = "dev_processing_nodes_state_check"
    (ours,) = ask(db, "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname = %s", name)
    ask(db, "CREATE SCHEMA other")
    ask(db, f"CREATE TABLE other.{NODES} (LIKE {NODES} INCLUDING ALL)")
    ask(db, f"ALTER TABLE {NODES} DROP CONSTRAINT {name}")

    add = f"ADD CONSTRAINT {name} {ours['text']}"
    assert told(db) == [("beside", f"constraint {name} of {NODES} is missing", (f"ALTER TABLE public.{NODES} {add}",))]
    ask(db, f"ALTER TABLE {NODES} ADD CONSTRAINT {name} CHECK (state <> 'x')")
    mend = f"ALTER TABLE public.{NODES} DROP CONSTRAINT {name}, {add}"
    assert told(db) == [("beside", f"constraint {name} of {NODES} has another definition", (mend,))]


def test_a_column_of_ours_that_may_be_empty_now_is_no_difference(db: Database) -> None:
    ask(db, f"ALTER TABLE {NODES} ALTER started_at DROP NOT NULL")

    assert told(db) == []
