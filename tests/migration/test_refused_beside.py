"""A table is refused for what it is, however well the tables are that have its name in another schema."""

from __future__ import annotations

import pytest

from opskit.database import Database
from tests.migration.test_refusal_rules import PLAIN, T, agrees, problem

WELL = (
    "CREATE SCHEMA other",
    f"CREATE TABLE other.{T} (id bigint PRIMARY KEY, processing_status text, processing_queued_at timestamp)",
    "CREATE TABLE letters (id bigint PRIMARY KEY, processing_status text, processing_queued_at timestamp)",
    "CREATE RULE r AS ON UPDATE TO letters DO ALSO NOTIFY a",
    "CREATE TABLE whole (number bigint)",
    "CREATE TABLE heir () INHERITS (whole)",
    "CREATE TABLE parts (id bigint PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (2)",
    "CREATE INDEX ON letters (processing_status)",
)

TABLES = {
    "well": (f"{PLAIN})", None),
    "not unique": (f"CREATE TABLE {T} (id bigint)", "is not unique"),
    "unique otherwise": (f"CREATE TABLE {T} (number int PRIMARY KEY, id bigint)", "is not unique"),
    "no id": (f"CREATE TABLE {T} (number bigint PRIMARY KEY)", "has no column id"),
    "an id that is dropped": (f"CREATE TABLE {T} (id int, number bigint PRIMARY KEY); ALTER TABLE {T} DROP id",
                              "has no column id"),
    "partition": (f"CREATE TABLE {T} PARTITION OF parts FOR VALUES FROM (2) TO (3)", "is a partition of parts"),
    "heir": (f"CREATE TABLE {T} (id bigint PRIMARY KEY) INHERITS (letters)", "inherits from letters"),
    "parent": (f"{PLAIN}); CREATE TABLE child () INHERITS ({T})", "has the child table child"),
    "not valid": (f"CREATE TABLE {T} (id bigint); CREATE UNIQUE INDEX u ON {T} (id); "
                  "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'u'::regclass", "is not unique"),
    "at the end": (f"CREATE TABLE {T} (id bigint UNIQUE DEFERRABLE)", "only at the end of a transaction"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_refused_for_what_it_is_itself(bare: Database, name: str) -> None:
    ddl, expected = TABLES[name]

    assert agrees(said := problem(bare, "migrate/refuse", *WELL, *ddl.split("; ")), expected), said


@pytest.mark.parametrize(
    ("columns", "has_status", "plain"),
    [
        ("", False, False),
        (", processing_status text", True, False),
        (", processing_queued_at timestamp", False, True),
        (", processing_queued_at timestamptz, uploaded_at timestamp", False, False),
    ],
)
def test_whether_there_is_a_status_and_a_plain_time_is_read_of_the_table_itself(
    bare: Database, columns: str, has_status: bool, plain: bool
) -> None:
    with bare.connection() as connection, connection.transaction(force_rollback=True):
        for one in (*WELL, f"{PLAIN}{columns})"):
            connection.execute(one.encode())
        (found,) = bare.run_on(connection, "migrate/refuse")

    assert (found["has_status"], found["plain_queue"]) == (has_status, plain)
