"""Who shares a history with a table: no table of another schema or environment, and none without a guard."""

from __future__ import annotations

import uuid

import pytest

from opskit import migration, stats
from opskit.database import Database
from opskit.migration.planning import sharing
from opskit.queue import claims
from tests.migration.test_several_tables import older, register, two
from tests.support.nodes import ask
from tests.support.tables import boot, fail, files

__all__ = ["two"]
Two = tuple[Database, Database]
BESIDE = ("other.dev_letters", "public.letters", "public.dev_pictures", "public.dev_songs")


def beside(db: Database, server_id: str) -> None:
    """Tables that are no fleet of this schema and environment, on which a node of this name is at work."""
    ask(db, "CREATE SCHEMA other")
    ask(db, "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    for table in BESIDE:
        ask(db, f"CREATE TABLE {table} (id int, processing_status text, processing_server_id text, "
                "processing_epoch bigint, processing_attempt int, processing_completed_at timestamptz)")  # fmt: skip
        ask(db, f"INSERT INTO {table} VALUES (1, 'processing', %s, 1000000, 9)", server_id)
    for table, name in (
        ("other.dev_letters", "dev_letters_processing_guard"), ("public.letters", "letters_processing_guard"),
        ("public.dev_pictures", "audit"), ("public.dev_pictures", "dev_songs_processing_guard"),
    ):  # fmt: skip
        ask(db, f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit()")


@pytest.fixture
def shared(two: Two) -> Database:
    """A table whose history an older version has kept in the shared one; a node has failed a file of it."""
    _, invoices = two
    with older(invoices) as earlier:
        migration.migrate(earlier)
        (id,) = files(earlier, "a")
        node = register(earlier, "node-i")
        fail(earlier, id, claims.claim_one(earlier, node, id).token, outcome="rejected", error="bad")
    beside(invoices, "node-i")
    return invoices


def test_a_node_that_is_at_work_beside_is_the_tables_own_all_the_same(shared: Database) -> None:
    found = sharing(shared)

    assert found["shares"]
    assert "node-i is alive" in (found["problem"] or "")


def test_a_table_takes_the_whole_history_where_only_others_stand_beside_it(shared: Database) -> None:
    ask(shared, "UPDATE dev_processing_nodes SET lease_until = now() - interval '1 s'")

    migration.migrate(shared)

    assert {"boot", "attempt", "migrate"} == set(stats.events(shared)["kind"])
    assert ask(shared, "SELECT to_regclass('dev_processing_events') IS NULL AS gone") == [{"gone": True}]


def test_a_history_in_which_something_of_another_table_is_left_stays(shared: Database) -> None:
    ask(shared, "UPDATE dev_processing_nodes SET lease_until = now() - interval '1 s'")
    columns = "kind, outcome, details"
    ask(shared, f"INSERT INTO dev_processing_events ({columns}) VALUES ('migrate', 'lanes', '{{}}')")

    migration.migrate(shared)

    assert ask(shared, "SELECT to_regclass('dev_processing_events') IS NULL AS gone") == [{"gone": False}]


def test_a_table_shares_nothing_that_has_a_history_of_its_own_or_is_not_there(two: Two) -> None:
    uploads, invoices = two
    assert sharing(invoices) == {"shares": False, "problem": None}
    migration.migrate(uploads)
    boot(uploads, "node-" + uuid.uuid4().hex[:4])

    assert sharing(uploads) == {"shares": False, "problem": None}
    assert sharing(invoices) == {"shares": False, "problem": None}
    ask(
        invoices,
        "INSERT INTO dev_processing_events (kind, outcome, details) "
        "VALUES ('migrate', 'columns', '{\"table\": \"dev_invoices\"}')",
    )
    assert sharing(invoices)["shares"] is True
    ask(invoices, "ALTER TABLE dev_processing_nodes RENAME TO away")
    assert sharing(invoices) == {"shares": False, "problem": None}
    ask(invoices, "ALTER TABLE away RENAME TO dev_processing_nodes")
    ask(invoices, "DROP TABLE dev_invoices")
    assert sharing(invoices) == {"shares": False, "problem": None}
