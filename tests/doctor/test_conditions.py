"""Every condition is made on a real PostgreSQL, found, and gone once its own mend has been run."""

from __future__ import annotations

import pytest

from opskit import migration
from opskit.database import Database, queries
from opskit.doctor import work
from tests.support.examining import examined, mend, parses, the_one
from tests.support.nodes import ask
from tests.support.tables import application, run

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"


# -- one condition each, made by SQL ------------------------------------------------------------

Given = tuple[list[str], str, str, str]


MADE: dict[str, Given] = {
    # name: the statements that make it, the finding's level, what it says, the beginning of its mend
    "trigger": (
        [f"ALTER TABLE {TABLE} DISABLE TRIGGER {TABLE}_processing_guard"],
        "error", f"the trigger {TABLE}_processing_guard is switched off", "opskit migrate",
    ),
    "wake": (
        [f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER {TABLE}_processing_wake"],
        "error", f"the trigger {TABLE}_processing_wake is switched off", "opskit migrate",
    ),
    "id": (
        [f"ALTER TABLE {TABLE} DROP CONSTRAINT {TABLE}_pkey"],
        "error", f"id of {TABLE} is not unique", "CREATE UNIQUE INDEX CONCURRENTLY",
    ),
    "unlogged": (
        [f"ALTER TABLE {TABLE} SET UNLOGGED"],
        "error", f"{TABLE} is UNLOGGED", f"ALTER TABLE {TABLE} SET LOGGED;",
    ),
    "paused": (
        ["INSERT INTO dev_processing_pauses (scope, actor) VALUES ('*', 'me')"],
        "warning", "^everything is paused since .* by me: no reason given", "opskit resume --all",
    ),
    "paused node": (
        ["INSERT INTO dev_processing_pauses (scope, actor, reason) VALUES ('node-a', 'me', 'disk full')"],
        "warning", "^node-a is paused since .* by me: disk full", "opskit resume node-a",
    ),
    "quarantined": (
        [f"UPDATE {NODES} SET state = 'quarantined'"], "error", "^node-a is in quarantine", "opskit resume node-a",
    ),
    "stale": (
        [f"INSERT INTO {TABLE} (original_filename, processing_status, processing_server_id, processing_started_at) "
         "VALUES ('old.csv', 'processing', 'old-server', now() - interval '2 hours')"],
        "error", "^1 claim is stale or orphaned, the oldest 'old.csv' on old-server for 2 h", "opskit cleanup",
    ),
    "waiting": (
        [f"INSERT INTO {TABLE} (processing_status) VALUES (NULL), (NULL)"],
        "warning", "^2 rows from before have no status", "opskit enqueue --existing --dry-run --where",
    ),
    "not cut over": (
        [f"ALTER TABLE {TABLE} ALTER COLUMN processing_status DROP DEFAULT",
         f"INSERT INTO {TABLE} (original_filename) VALUES ('new')"],
        "warning", "^1 row waits without a status, and new rows join", "opskit migrate --queue-new\n",
    ),
    "durations": (
        [f"INSERT INTO {TABLE} (processing_status, processing_started_at, processing_completed_at) "
         "SELECT 'completed', now() - n * interval '1 hour', now() FROM generate_series(0.5, 3.5) AS n"],
        "warning", "^3 files in 30 days ran longer than 1 h, one of them 3 h 30 min",
        "export OPSKIT_STALE_AFTER_SECONDS=18900  # on every node",
    ),
    "fillfactor": (
        [f"ALTER TABLE {NODES} RESET (fillfactor)"],
        "warning", f"{NODES} has a fillfactor of 100", f"ALTER TABLE {NODES} SET (fillfactor = 40);",
    ),
    "foreign index on nodes": (
        [f"CREATE INDEX nodes_by_beat ON {NODES} (beat_at)"],
        "warning", f"{NODES} has an index that is not ours: nodes_by_beat", "DROP INDEX CONCURRENTLY nodes_by_beat;",
    ),
    "autovacuum of the table": (
        [f"ALTER TABLE {TABLE} SET (autovacuum_enabled = false)"],
        "warning", f"autovacuum is switched off for {TABLE}$", f"ALTER TABLE {TABLE} RESET (autovacuum_enabled);",
    ),
    "synchronous_commit of the database": (
        ["DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$"],
        "warning", "^synchronous_commit is off", "ALTER DATABASE",
    ),
    "read-only database": (
        ["DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); "
         "END $$"],
        "error", "^sessions are read-only by default", "SET default_transaction_read_only = off;\nALTER DATABASE",
    ),
    "trigger of the application": (
        [f"ALTER TABLE {TABLE} ADD COLUMN changed_at timestamptz",
         "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
         "$$ BEGIN NEW.changed_at := now(); RETURN NEW; END $$",
         f'CREATE TRIGGER "an UPDATE" BEFORE INSERT OR UPDATE ON {TABLE} FOR EACH ROW '
         "WHEN (NEW.original_filename <> ' UPDATE ') EXECUTE FUNCTION touch()"],
        "warning", "^the application's trigger an UPDATE calls touch before every claim and completion",
        'CREATE OR REPLACE TRIGGER "an UPDATE" BEFORE INSERT OR UPDATE OF id, original_filename,',
    ),
    "indexes of the application": (
        [f"CREATE INDEX extra_{n} ON {TABLE} (file_size)" for n in range(7)],
        "warning", r"^7 indexes of the application are written to twice a file: extra_0 \(never used\), .* and 2 more",
        "DROP INDEX CONCURRENTLY extra_0;\nDROP INDEX CONCURRENTLY extra_1;",
    ),
    "versions": (
        [f"INSERT INTO {NODES} (server_id, boot, version, started_at, beat_at, lease_until, lease_seconds) "
         "SELECT 'node-' || v, gen_random_uuid(), v, now(), now(), now() + interval '9 minutes', 600 "
         "FROM unnest('{99.10.0,99.9.1}'::text[]) AS v"],
        "warning", r"^nodes of different versions are alive: [\d.]+, 99\.9\.1, 99\.10\.0",
        "opskit drain node-99.9.1\nopskit drain node-a",
    ),
}  # fmt: skip


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize("name", MADE)
def test_it_is_found_and_gone_after_its_mend(healthy: Database, name: str) -> None:
    statements, level, what, how = MADE[name]
    with application(healthy.settings) as connection:
        for statement in statements:
            run(connection, statement)

    # A connection of its own: settings of the database reach new sessions only.
    with Database(healthy.settings, pooled=False) as db:
        finding = the_one(db, what)

    assert finding.level == level
    assert finding.mend.startswith(how)
    parses(healthy.settings, finding)
    if name not in ("waiting", "not cut over", "durations", "versions"):
        mend(healthy.settings, finding)
        with Database(healthy.settings, pooled=False) as db:
            assert examined(db) == []


@pytest.mark.slow
def test_the_cut_over_is_mended_by_its_first_command_and_leaves_the_rows_from_before(healthy: Database) -> None:
    migration.queue_new(healthy, on=False)
    ask(healthy, f"INSERT INTO {TABLE} (original_filename) VALUES ('before')")

    mend(healthy.settings, the_one(healthy, "1 row waits without a status"))

    the_one(healthy, "^1 row from before has no status")


def test_of_a_large_table_the_rows_without_a_status_are_estimated(
    healthy: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(healthy, f"INSERT INTO {TABLE} (processing_status) SELECT NULL FROM generate_series(1, 300)")
    monkeypatch.setattr(work, "EXACT_BYTES", 0)
    few = the_one(healthy, "^300 rows from before")
    monkeypatch.setattr(work, "EXACT_ROWS", 200)
    new = the_one(healthy, "^about 300 rows from before")
    ask(healthy, f"ANALYZE {TABLE}")
    known = the_one(healthy, "^about 300 rows from before")
    plan = ask(
        healthy,
        "EXPLAIN " + queries.statement("doctor/waiting").compose(healthy.names).as_string()
        .replace("%(exact_bytes)s", "'0'").replace("%(exact_rows)s", "'200'")
        .replace("%(files)s", f"'{TABLE}'").replace("%%", "%"),
    )  # fmt: skip

    assert few.what == new.what.removeprefix("about ")
    assert new == known
    assert any("Tid Range Scan" in line["QUERY PLAN"] for line in plan)
