"""What a migration and a cut-over meet: who works without a token, how full the queue is, which rights are missing."""

from __future__ import annotations

from typing import Any

import pytest

from opskit.database import Database
from tests.support.tables import application, insert, run

T = "dev_uploaded_files"
TOKEN = "00000000-0000-0000-0000-000000000007"
LATELY = "clock_timestamp() - interval '5 minutes'"


def rows_of(db: Database, *assignments: str) -> list[str]:
    """Rows with these values, put past the guard, as other programs leave them."""
    with application(db.settings) as own:
        run(own, "SET session_replication_role = replica")
        ids = [insert(own, T, original_filename=f"f{n}") for n in range(len(assignments))]
        for id, assignment in zip(ids, assignments, strict=True):
            if assignment:
                run(own, f"UPDATE {T} SET {assignment} WHERE id = {id}")
    return ids


def test_who_works_without_a_token_is_seen_by_what_is_held_and_by_what_ended_in_the_last_hour(db: Database) -> None:
    processing, completed = "processing_status = 'processing'", "processing_status = 'completed'"
    server, at = "processing_server_id = 'old'", f"processing_completed_at = {LATELY}"
    ids = rows_of(
        db,
        f"{processing}, {server}, processing_started_at = {LATELY}",
        f"{processing}, processing_started_at = {LATELY}",
        f"{processing}, processing_server_id = 'ours', processing_token = '{TOKEN}', processing_epoch = 1",
        "processing_status = 'queued', processing_server_id = 'queued'",
        f"{completed}, {server}, processing_completed_at = {LATELY}",
        f"processing_status = 'failed', {server}, processing_completed_at = {LATELY}",
        f"{completed}, processing_server_id = 'done', processing_done_token = '{TOKEN}', {at}",
        f"{completed}, processing_server_id = 'held', processing_token = '{TOKEN}', {at}",
        f"{completed}, processing_server_id = 'long ago', processing_completed_at = now() - interval '2 h'",
        f"{completed}, processing_server_id = 'to come', processing_completed_at = now() + interval '2 h'",
        f"processing_status = 'failed', processing_server_id = 'told', processing_completed_at = {LATELY}",
        f"processing_status = 'failed', processing_server_id = 'asked', processing_completed_at = {LATELY}",
    )
    with application(db.settings) as own:
        for id, kind in ((ids[10], "attempt"), (ids[11], "requeue")):
            run(own, f"INSERT INTO dev_processing_events (kind, file_id) VALUES ('{kind}', '{id}')")

    found = {row["server"]: (row["holding"], row["ended"]) for row in db.run("migrate/older")}

    assert found == {"old": (1, 2), "somebody unnamed": (1, 0), "asked": (0, 1)}
    assert all(200 < row["last_seconds"] < 400 for row in db.run("migrate/older"))


OTHERS = "processing_status = NULL"
QUEUED = "processing_status = 'queued', processing_queued_at = now()"


@pytest.mark.parametrize(
    ("assignments", "exact_bytes", "queued", "per_hour"),
    [
        ([f"{QUEUED}, uploaded_at = now()", f"{OTHERS}, uploaded_at = now()"], 1 << 30, 1, 2),
        ([f"{QUEUED}, deleted = true, uploaded_at = now() - interval '2 h'"], 1 << 30, 0, 0),
        ([f"{OTHERS}, uploaded_at = now() + interval '2 h'", f"{OTHERS}, uploaded_at = now()"], 1 << 30, 0, 1),
        ([f"{OTHERS}, uploaded_at = NULL"] * 2, 1 << 30, 0, None),
        ([f"{OTHERS}, uploaded_at = now()"] * 2, 0, 0, 2),
    ],
)
def test_a_cut_over_meets_what_is_queued_and_what_came_within_the_hour(
    db: Database, assignments: list[str], exact_bytes: int, queued: int, per_hour: int | None
) -> None:
    rows_of(db, *assignments)

    assert db.one("migrate/cut_over", exact_bytes=exact_bytes) == {"queued": queued, "per_hour": per_hour}


def test_of_a_large_table_the_rate_is_that_of_its_last_pages(db: Database) -> None:
    with application(db.settings) as own:
        run(own, f"ALTER TABLE {T} ADD COLUMN filler text DEFAULT repeat('x', 7000), ALTER filler SET STORAGE plain")
        for age in ("2 hours", "30 minutes"):
            run(own, f"INSERT INTO {T} (original_filename, uploaded_at) "
                     f"SELECT 'f', now() - interval '{age}' FROM generate_series(1, 600)")  # fmt: skip

    assert db.one("migrate/cut_over", exact_bytes=1 << 30)["per_hour"] == 600
    # The last 500 pages hold rows of the last half hour alone: as many again come in the next.
    assert 950 < db.one("migrate/cut_over", exact_bytes=8192)["per_hour"] <= 1000


# -- rights --------------------------------------------------------------------------------------------

RIGHTS: dict[str, tuple[list[str], str | None]] = {
    "all": ([], None),
    "another's table": ([f"ALTER TABLE {T} OWNER TO stranger"], "dev_uploaded_files belongs to stranger; migrate as"),
    "another's history": (["ALTER TABLE dev_processing_events OWNER TO stranger"],
                          "dev_processing_events belongs to stranger, and dev_uploaded_files does not"),
    "another's other table": (["CREATE TABLE other (a int)", "ALTER TABLE other OWNER TO stranger"], None),
    "no schema": (["REVOKE CREATE ON SCHEMA public FROM migrator, PUBLIC"], "migrator may create nothing in"),
    "no update": ([f"REVOKE UPDATE ON {T} FROM migrator"], "migrator lacks UPDATE on its own table"),
    "policy of one": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                       f"CREATE POLICY a ON {T} USING (id > 5)"], "row-level security hides rows"),
    "policy of all": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                       f"CREATE POLICY a ON {T} USING (true) WITH CHECK (true)"], None),
    "policy of reading": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                           f"CREATE POLICY a ON {T} FOR SELECT USING (true)"], "row-level security hides rows"),
    "policy of no writing": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                              f"CREATE POLICY a ON {T} USING (true) WITH CHECK (id > 5)"], "row-level security hides"),
    "policy for another": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                            f"CREATE POLICY a ON {T} TO stranger USING (true)"], "row-level security hides rows"),
    "restricted": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                    f"CREATE POLICY a ON {T} USING (true)",
                    f"CREATE POLICY b ON {T} AS RESTRICTIVE USING (true)"], "leave that role out of the restrictive"),
    "another restricted": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                            f"CREATE POLICY a ON {T} USING (true)",
                            f"CREATE POLICY b ON {T} AS RESTRICTIVE TO stranger USING (true)"], None),
    "not forced": ([f"ALTER TABLE {T} ENABLE ROW LEVEL SECURITY", f"CREATE POLICY a ON {T} USING (id > 5)"], None),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHTS)
def test_a_right_that_the_migration_needs_is_asked_for_by_its_name(db: Database, case: str) -> None:
    statements, expected = RIGHTS[case]
    tables = ("uploaded_files", "processing_nodes", "processing_events", "processing_pauses", "processing_logs")
    with db.connection() as connection, connection.transaction(force_rollback=True):
        for statement in (
            "CREATE ROLE migrator", "CREATE ROLE stranger",
            "GRANT CREATE, USAGE ON SCHEMA public TO migrator, stranger",
            *(f"ALTER TABLE dev_{name} OWNER TO migrator" for name in tables), *statements, "SET LOCAL ROLE migrator",
        ):  # fmt: skip
            run(connection, statement)
        found: dict[str, Any] = db.run_on(connection, "migrate/refuse_rights")[0]

    assert (found["problem"] is None) if expected is None else (expected in (found["problem"] or "")), found
