"""The doctor: every condition is made on a real PostgreSQL, found, and gone once its own mend has been run."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from opskit import doctor, migration, queue
from opskit.cli.main import build_parser
from opskit.cli.main import main as cli
from opskit.database import Database, queries
from opskit.doctor import Finding, runbooks, server, work
from opskit.settings import Settings, env_name
from opskit.web.api.app import create_api
from opskit.web.dashboard import readings
from tests.faults import test_pooler as poolers
from tests.support import cluster as clusters
from tests.support.nodes import ask, until
from tests.support.tables import ROOT, application, boot, claimed, environ, files, opskit, psql_program, put_node, run

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"
WHATEVER = "-c default_transaction_read_only=off -c synchronous_commit=local"
"""A session that can write whatever the server is set to."""


@pytest.fixture
def healthy(db: Database) -> Database:
    """A freshly migrated database with a live node."""
    boot(db, "node-a", lease_seconds=600.0)
    return db


def examined(db: Database) -> list[Finding]:
    """What the doctor says; every mend can be typed as it stands."""
    missing = migration.missing(db)
    findings = doctor.examine(db, missing=missing, queues_new=bool(missing) or migration.queues_new(db))
    for finding in findings:
        assert finding.level in ("error", "warning")
        assert finding.what
        assert finding.why
        assert finding.mend
        assert runbooks.title(finding.condition)
    return findings


def the_one(db: Database, what: str) -> Finding:
    """The only finding, and it says *what*."""
    (finding,) = examined(db)
    assert re.search(what, finding.what), finding
    return finding


def parses(settings: Settings, finding: Finding) -> None:
    """Hold every line of a mend against what would read it: the command line, or PostgreSQL's own grammar."""
    for line in finding.mend.splitlines():
        words = shlex.split(line, comments=True)
        if line.startswith("opskit "):
            assert callable(build_parser().parse_args(words[1:]).verb)
        elif line.startswith("export "):
            assert words[1].partition("=")[0] in {env_name(name) for name in Settings.__dataclass_fields__}
        elif line.startswith(("sudo timedatectl ", "unset PGOPTIONS")):
            pass
        else:
            assert line.endswith(";"), line
            with application(settings, options=WHATEVER) as connection:
                # Reads the statement, whatever it is, and runs nothing.
                body = sql.Literal(f"BEGIN {line} END")
                run(connection, "CREATE FUNCTION pg_temp.probe() RETURNS void LANGUAGE plpgsql AS {}", body)


def mend(settings: Settings, finding: Finding) -> None:
    """Run a mend as it stands, as the owner of everything."""
    parses(settings, finding)
    with application(settings) as connection:
        for line in finding.mend.splitlines():
            if line.startswith("opskit "):
                done = opskit(settings, *shlex.split(line, comments=True)[1:])
                assert done.returncode == 0, done.stderr
            else:
                run(connection, line)


def finished(db: Database, count: int, started: str, *, server_id: str = "node-a") -> None:
    """Files that completed just now."""
    ask(
        db,
        f"INSERT INTO {TABLE} (processing_status, processing_server_id, processing_started_at, processing_completed_at)"
        f" SELECT 'completed', %s, {started}, now() FROM generate_series(1, {count})",
        server_id,
    )


def reset(settings: Settings, name: str) -> None:
    """Take a setting of the server back."""
    with application(settings) as connection:
        run(connection, f"ALTER SYSTEM RESET {name}")
        run(connection, "SELECT pg_reload_conf()")


# -- nothing -----------------------------------------------------------------------------------


def test_a_freshly_migrated_database_with_a_live_node_is_healthy(healthy: Database) -> None:
    assert examined(healthy) == []


def test_a_database_that_has_worked_is_healthy(healthy: Database) -> None:
    claimed(healthy, "node-b")
    files(healthy, *(f"file-{number}" for number in range(20)))
    ask(healthy, f"UPDATE {TABLE} SET processing_started_at = now() - interval '1 minute', "
                 "processing_completed_at = now(), processing_status = 'completed' WHERE id > 10")  # fmt: skip
    for _ in range(30):
        ask(healthy, f"UPDATE {NODES} SET beat_at = now()")

    assert examined(healthy) == []


def test_an_examination_takes_less_than_a_second(healthy: Database) -> None:
    examined(healthy)
    began = time.monotonic()

    doctor.examine(healthy, missing=[], queues_new=True)

    assert time.monotonic() - began < 1


def test_an_examination_changes_nothing(healthy: Database) -> None:
    with Database(dataclasses.replace(healthy.settings), pooled=False) as only_reading:
        ask(only_reading, "SET default_transaction_read_only = on")
        found = doctor.examine(only_reading, missing=[], queues_new=True)

    assert {finding.what for finding in found} <= {"sessions are read-only by default (default_transaction_read_only)"}


def test_a_table_that_is_not_migrated_is_the_only_thing_told(settings: Settings) -> None:
    with Database(settings, pooled=False) as db:
        finding = the_one(db, "dev_uploaded_files is missing; .* more$")

        assert finding.level == "error"
        mend(settings, finding)
        assert examined(db) == []


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
        "error", "^1 claims are stale or orphaned, the oldest 'old.csv' on old-server for 2 h", "opskit cleanup",
    ),
    "waiting": (
        [f"INSERT INTO {TABLE} (processing_status) VALUES (NULL), (NULL)"],
        "warning", "^2 rows from before have no status", "opskit enqueue --existing --dry-run --where",
    ),
    "not cut over": (
        [f"ALTER TABLE {TABLE} ALTER COLUMN processing_status DROP DEFAULT",
         f"INSERT INTO {TABLE} (original_filename) VALUES ('new')"],
        "warning", "^1 rows wait without a status, and new rows join them", "opskit migrate --queue-new\n",
    ),
    "durations": (
        [f"INSERT INTO {TABLE} (processing_status, processing_started_at, processing_completed_at) "
         "SELECT 'completed', now() - n * interval '1 hour', now() FROM generate_series(0.5, 3.5) AS n"],
        "warning", "^3 files in 30 days ran longer than 1 h, one of them 3.5 h",
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


def test_the_cut_over_is_mended_by_its_first_command_and_leaves_the_rows_from_before(healthy: Database) -> None:
    migration.queue_new(healthy, on=False)
    ask(healthy, f"INSERT INTO {TABLE} (original_filename) VALUES ('before')")

    mend(healthy.settings, the_one(healthy, "1 rows wait without a status"))

    the_one(healthy, "^1 rows from before have no status")


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


# -- the work ------------------------------------------------------------------------------------


def test_files_queued_and_no_node_alive(db: Database) -> None:
    files(db, "a", "b")

    finding = the_one(db, "^2 files are queued and no node is alive")

    assert (finding.level, finding.mend) == ("error", "opskit worker")
    parses(db.settings, finding)


def test_a_long_queue_is_counted_up_to_a_bound(db: Database) -> None:
    ask(db, f"INSERT INTO {TABLE} (processing_status) SELECT 'queued' FROM generate_series(1, 10001)")

    the_one(db, "^more than 10000 files are queued and no node is alive")


def test_files_queued_and_every_live_node_is_draining(healthy: Database) -> None:
    files(healthy, "a")
    queue.drain(healthy, "node-a", actor="me")

    finding = the_one(healthy, "^1 files are queued and each of 1 live nodes is draining or in quarantine")

    assert finding.level == "error"


def test_a_dead_node_with_its_claim(healthy: Database) -> None:
    claimed(healthy, "node-b")
    put_node(healthy, "node-b", "lease_until = now() - interval '20 minutes', beat_at = now() - interval '21 minutes'")

    claims, dead = examined(healthy)

    assert (claims.level, dead.level) == ("error", "warning")
    assert claims.mend == "opskit cleanup"
    assert re.fullmatch(r"silent without a good-bye: node-b on \S+ for 21 min", dead.what)
    for finding in (claims, dead):
        parses(healthy.settings, finding)
    mend(healthy.settings, claims)  # the first look
    put_node(healthy, "node-b", "looked_at = now() - interval '3 seconds'")
    mend(healthy.settings, claims)
    mend(healthy.settings, dataclasses.replace(dead, mend=dead.mend.splitlines()[1]))
    assert examined(healthy) == []


def test_many_dead_nodes_are_one_finding(healthy: Database) -> None:
    for number in range(8):
        boot(healthy, f"pod-{number}")
        put_node(healthy, f"pod-{number}", "lease_until = now() - interval '1 minute'")

    finding = the_one(healthy, "pod-0 on .* and 3 more")

    assert finding.mend.startswith("opskit worker --node-id pod-0")


def test_a_known_nodes_own_threshold_is_held_against_durations(healthy: Database) -> None:
    boot(healthy, "patient", lease_seconds=600.0, stale_after_seconds=7200.0)
    finished(healthy, 1, "now() - interval '90 minutes'", server_id="patient")

    assert examined(healthy) == []
    ask(healthy, f"UPDATE {TABLE} SET processing_server_id = 'node-a'")
    the_one(healthy, "^1 files in 30 days ran longer than 1 h, one of them 1.5 h")


# -- the other environment -----------------------------------------------------------------------


@pytest.fixture
def other(healthy: Database) -> Iterator[Database]:
    """Production's tables beside development's, migrated."""
    with Database(dataclasses.replace(healthy.settings, env="production")) as production:
        migration.migrate(production)
        yield production


def test_two_environments_that_are_alike_are_healthy(healthy: Database, other: Database) -> None:
    boot(other, "node-p", lease_seconds=600.0)
    assert (examined(healthy), examined(other)) == ([], [])


@pytest.mark.parametrize(
    "breaking",
    [
        "DROP INDEX uploaded_files_processing_held",
        "DROP TRIGGER uploaded_files_processing_new ON uploaded_files",
        "DROP TRIGGER uploaded_files_processing_guard ON uploaded_files",
        "ALTER TABLE uploaded_files DROP COLUMN processing_result",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uploaded_files_processing_queue'::regclass",
    ],
)
def test_what_the_other_environment_lacks_is_told_and_migrated(
    healthy: Database, other: Database, breaking: str
) -> None:
    ask(healthy, breaking)

    finding = the_one(healthy, r"^uploaded_files \(production\) is not migrated as this environment's table is: ")

    assert (finding.level, finding.mend) == ("warning", "opskit migrate --env production")
    mend(healthy.settings, finding)
    assert examined(healthy) == []


def test_an_index_of_the_other_environment_that_is_another_one_is_built_anew(
    healthy: Database, other: Database
) -> None:
    ask(healthy, "DROP INDEX uploaded_files_processing_ended")
    ask(healthy, "CREATE INDEX uploaded_files_processing_ended ON uploaded_files (processing_status)")

    finding = the_one(healthy, r"^index \.\.\._processing_ended is USING btree .* in uploaded_files and USING btree")

    assert (finding.level, finding.mend) == ("warning", "opskit migrate --env production")
    mend(healthy.settings, finding)
    assert examined(healthy) == []


def test_columns_of_the_application_that_development_lacks_are_told(healthy: Database, other: Database) -> None:
    ask(healthy, f"ALTER TABLE {TABLE} ADD COLUMN in_work text")
    # Only one of them is the application's: nothing to compare.
    assert examined(healthy) == []
    ask(healthy, 'ALTER TABLE uploaded_files ADD COLUMN "the amount" numeric(10, 2), ADD COLUMN owner bigint')
    ask(healthy, f"ALTER TABLE {TABLE} ADD COLUMN owner integer")

    other_way, this_way = examined(healthy)

    assert other_way.what == "column owner is bigint in uploaded_files and integer in dev_uploaded_files"
    assert this_way.what == "column the amount is numeric(10,2) in uploaded_files and missing in dev_uploaded_files"
    for finding in (other_way, this_way):
        mend(healthy.settings, finding)
    # What development has and production lacks is a release on its way.
    assert examined(healthy) == []


# -- roles ---------------------------------------------------------------------------------------
WRITER = "IN ROLE pg_read_all_data, pg_write_all_data, pg_monitor"


@contextlib.contextmanager
def role(settings: Settings, name: str, options: str = "") -> Iterator[Settings]:
    """A role that may nothing, and the settings of a process that is it."""
    name = f"{name}_{settings.database_url.rpartition('_')[2]}" if settings.database_url else name
    with application(settings) as connection:
        run(connection, f"CREATE ROLE {name} LOGIN PASSWORD 'x' {options}")
        run(connection, f"GRANT USAGE ON SCHEMA public TO {name}")
        try:
            url = re.sub(r"//[^@]*@", f"//{name}:x@", settings.database_url or "")
            yield dataclasses.replace(settings, database_url=url)
        finally:
            run(connection, f"DROP OWNED BY {name}")
            run(connection, f"DROP ROLE {name}")


def test_a_role_that_may_nothing_gets_findings_and_no_exception(healthy: Database) -> None:
    with role(healthy.settings, "stranger") as theirs, Database(theirs, pooled=False) as db:
        found = doctor.examine(db, missing=[], queues_new=True)

        lacks = [f for f in found if " lacks " in f.what and "processing_logs" not in f.what]
        (denied,) = [finding for finding in found if " may not look at: " in finding.what]
        assert {finding.level for finding in lacks} == {"error"}
        assert [re.sub("stranger_[0-9a-f]+ ", "", finding.what) for finding in lacks] == [
            f"lacks SELECT, UPDATE on {TABLE}",
            f"lacks SELECT, INSERT, UPDATE, DELETE on {NODES}",
            "lacks SELECT, INSERT, DELETE on dev_processing_events",
            "lacks SELECT on dev_processing_pauses",
        ]
        assert denied.level == "warning"
        assert {"queue", "claims", "nodes", "pauses", "waiting", "durations"} <= set(re.findall(r"\w+", denied.what))
        for finding in found:
            mend(healthy.settings, finding)

    with role(healthy.settings, "node") as theirs, Database(theirs, pooled=False) as db:
        for finding in [each for each in doctor.examine(db, missing=[], queues_new=True) if " lacks " in each.what]:
            mend(healthy.settings, finding)
        with application(healthy.settings, application_name="another role's session"):
            # What is left is what this role cannot see of others: who keeps vacuum back.
            (hidden,) = examined(db)
            assert re.search(r"^\d+ sessions of other roles cannot be judged by this role", hidden.what)
            mend(healthy.settings, hidden)
        assert examined(db) == []


def test_the_roles_that_come_with_it_are_enough(healthy: Database) -> None:
    program = psql_program()
    with role(healthy.settings, "node", "IN ROLE pg_monitor") as theirs, Database(theirs, pooled=False) as db:
        me = db.one("doctor/session")["role"]
        given = [f"-v{kind}={kind}_of_{me}" for kind in ("node", "operator", "viewer")]
        try:
            subprocess.run(
                [program, healthy.settings.database_url or "", *given, "-f", ROOT / "sql/roles.sql"],
                env=environ(healthy.settings), capture_output=True, check=True,
            )  # fmt: skip
            ask(healthy, f"GRANT node_of_{me} TO {me}")

            # All but one thing, which an operator's role schedules.
            assert the_one(db, f"^{me} lacks DELETE on ").mend.startswith("opskit prune  # once a day")
            ask(healthy, f"GRANT operator_of_{me} TO {me}")
            assert examined(db) == []
        finally:
            for kind in ("node", "operator", "viewer"):
                ask(healthy, f"DROP OWNED BY {kind}_of_{me}")
                ask(healthy, f"DROP ROLE {kind}_of_{me}")


def test_a_grant_for_our_columns_alone_will_do(healthy: Database) -> None:
    columns = ", ".join(
        row["column_name"] for row in healthy.run("columns") if row["column_name"].startswith("processing_")
    )
    with role(healthy.settings, "node", "IN ROLE pg_monitor") as theirs, Database(theirs, pooled=False) as db:
        me = db.one("doctor/session")["role"]
        ask(healthy, f"GRANT SELECT ON {TABLE} TO {me}")
        for beside in ("nodes", "events", "pauses", "logs"):
            ask(healthy, f"GRANT ALL ON dev_processing_{beside} TO {me}")
        finding = the_one(db, f"lacks UPDATE on {TABLE}")
        ask(healthy, f"GRANT UPDATE ({columns}) ON {TABLE} TO {me}")

        assert finding.mend == f"GRANT UPDATE ({columns}) ON {TABLE} TO {me};"
        assert examined(db) == []


def test_a_door_that_only_reads_needs_no_more_than_that(healthy: Database) -> None:
    with role(healthy.settings, "reader", "IN ROLE pg_read_all_data, pg_monitor") as theirs:
        with Database(theirs, pooled=False) as db:
            # Without the logs table a node works on, and keeps no logs.
            assert {f.level for f in examined(db) if "processing_logs" not in f.what} == {"error"}
        with Database(dataclasses.replace(theirs, read_only=True), pooled=False) as db:
            assert examined(db) == []


def test_row_level_security_that_hides_rows_from_the_node(healthy: Database) -> None:
    ask(healthy, f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    assert examined(healthy) == []  # a superuser sees everything
    with role(healthy.settings, "node", WRITER) as theirs, Database(theirs, pooled=False) as db:
        finding = the_one(db, f"^row-level security hides rows of {TABLE} from node_")
        mend(healthy.settings, finding)

        assert finding.level == "error"
        assert examined(db) == []


def test_a_limit_on_a_roles_connections(healthy: Database) -> None:
    limited = f"{WRITER} CONNECTION LIMIT 3"
    with role(healthy.settings, "node", limited) as theirs, Database(theirs, pooled=False) as db:
        finding = the_one(db, "^1 of 3 connections of the role are in use")
        mend(healthy.settings, finding)

        assert re.match(r"ALTER ROLE node_\w+ CONNECTION LIMIT 26;", finding.mend)
        assert examined(db) == []


def test_a_server_that_is_nearly_full(healthy: Database) -> None:
    (limit,) = ask(healthy, "SELECT current_setting('max_connections')::int AS most")
    url = healthy.settings.database_url or ""
    with contextlib.ExitStack() as stack:
        for _ in range(limit["most"] - 20):
            stack.enter_context(psycopg.connect(url))

        finding = the_one(healthy, r"^\d+ of \d+ connections of the server are in use")

    assert finding.mend.startswith(f"ALTER SYSTEM SET max_connections = {2 * limit['most']};")
    parses(healthy.settings, finding)


# -- the server ----------------------------------------------------------------------------------


def test_a_session_left_in_a_transaction(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(healthy.settings.database_url or "", application_name="report") as forgotten:
        forgotten.execute("SELECT count(*) FROM dev_uploaded_files")
        assert examined(healthy) == []  # not for long yet
        monkeypatch.setattr(server, "LONG_SECONDS", 0.0)

        finding = the_one(
            healthy, r"^process \d+ is in a transaction for .* s \(report as \w+, idle in transaction: SELECT"
        )

        assert finding.mend == f"SELECT pg_terminate_backend({forgotten.info.backend_pid});"
        mend(healthy.settings, finding)
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("SELECT 1")
    assert examined(healthy) == []


def test_transactions_of_other_databases_hold_nothing_back(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LONG_SECONDS", 0.0)
    elsewhere = re.sub(r"/\w+$", "/postgres", healthy.settings.database_url or "")
    with psycopg.connect(elsewhere) as other:
        other.execute("SELECT count(*) FROM pg_class")

        assert examined(healthy) == []


def test_dead_rows_that_vacuum_has_not_seen(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(healthy, 3000, "now()")
    with application(healthy.settings) as connection:
        run(connection, f"UPDATE {TABLE} SET file_size = 1")
        run(connection, "SELECT pg_stat_force_next_flush()")
    monkeypatch.setattr(server, "MOST_DEAD_ROWS", 1000)

    finding = until(lambda: next(iter(examined(healthy)), None))

    assert re.search(rf"^{TABLE} holds 3000 dead rows, and vacuum has never come", finding.what)
    mend(healthy.settings, finding)
    until(lambda: not examined(healthy))


def test_autovacuum_switched_off_for_all(healthy: Database) -> None:
    try:
        ask(healthy, "ALTER SYSTEM SET autovacuum = off")
        ask(healthy, "SELECT pg_reload_conf()")
        found = until(lambda: examined(healthy))
        assert [f.what for f in found] == [
            f"autovacuum is switched off for {name} (autovacuum = off)"
            for name in ("dev_processing_events", NODES, TABLE)
        ]
        mend(healthy.settings, found[0])
        until(lambda: not examined(healthy))
    finally:
        reset(healthy.settings, "autovacuum")


BEATS = f"DO $$ BEGIN FOR n IN 1..{{}} LOOP UPDATE {NODES} SET beat_at = clock_timestamp(); END LOOP; END $$"


def test_heartbeats_that_find_no_room(healthy: Database) -> None:
    boot(healthy, "node-b", lease_seconds=600.0)
    with application(healthy.settings) as connection:
        # Wide rows, and one transaction: what it leaves behind, nobody can tidy up meanwhile.
        run(connection, f"ALTER TABLE {NODES} ALTER COLUMN host SET STORAGE PLAIN")
        run(connection, f"UPDATE {NODES} SET host = repeat('x', 3000)")
        run(connection, BEATS.format(600))
        run(connection, "SELECT pg_stat_force_next_flush()")

    finding = until(lambda: next(iter(examined(healthy)), None))

    assert re.search(rf"^\d+ of 120\d updates of {NODES} found no room on their page", finding.what)
    mend(healthy.settings, finding)
    until(lambda: not examined(healthy))


def test_few_heartbeats_are_not_judged(healthy: Database) -> None:
    with application(healthy.settings) as connection:
        run(connection, f"ALTER TABLE {NODES} ALTER COLUMN host SET STORAGE PLAIN")
        run(connection, f"UPDATE {NODES} SET host = repeat('x', 3000)")
        run(connection, BEATS.format(900))
        run(connection, "SELECT pg_stat_force_next_flush()")
    until(lambda: healthy.one("doctor/heartbeats")["updates"] > 900)

    assert examined(healthy) == []


def test_an_epoch_raised_often_is_no_sign_of_cold_heartbeats(healthy: Database) -> None:
    with application(healthy.settings) as connection:
        for _ in range(1100):
            run(connection, f"UPDATE {NODES} SET epoch = epoch + 1")
        run(connection, "SELECT pg_stat_force_next_flush()")
    until(lambda: healthy.one("doctor/heartbeats")["updates"] >= 1100)

    assert examined(healthy) == []


def test_synchronous_standbys_that_are_not_there(healthy: Database) -> None:
    try:
        with application(healthy.settings) as connection:
            run(connection, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 2 (a, b, c)'")
            run(connection, "SELECT pg_reload_conf()")
        (finding,) = until(lambda: examined(healthy))

        assert finding.level == "error"
        assert finding.what == "2 synchronous standbys must confirm each commit, and 0 are connected"
        mend(healthy.settings, finding)
        until(lambda: not examined(healthy))
    finally:
        reset(healthy.settings, "synchronous_standby_names")


@pytest.mark.parametrize("place", ["ROLE", "ROLE IN DATABASE", "SYSTEM", "client"])
def test_synchronous_commit_is_mended_where_it_was_set(healthy: Database, place: str) -> None:
    settings = healthy.settings
    url = settings.database_url or ""
    with role(settings, "node", "SUPERUSER") as theirs:
        name = re.search("//(.*?):", theirs.database_url or "")[1]  # type: ignore[index]
        where = {"ROLE": f"ROLE {name}", "ROLE IN DATABASE": f"ROLE {name} IN DATABASE {url.rpartition('/')[2]}"}
        try:
            if place == "client":
                theirs = dataclasses.replace(
                    theirs, database_url=f"{theirs.database_url}?options=-csynchronous_commit%3Doff"
                )
            else:
                ask(healthy, f"ALTER {where.get(place, place)} SET synchronous_commit = off")
                ask(healthy, "SELECT pg_reload_conf()")

            def seen() -> list[Finding]:
                with Database(theirs, pooled=False) as db:
                    return examined(db)

            (finding,) = until(seen)
            parses(settings, finding)
            if place == "client":
                assert finding.mend.startswith("unset PGOPTIONS")
            else:
                mend(settings, finding)
                until(lambda: not seen())
        finally:
            reset(settings, "synchronous_commit")


def test_a_clock_that_is_an_hour_off(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for off, told in ((1.0, 0), (3600.0, 1), (-3600.0, 1)):
        monkeypatch.setattr(server, "time", SimpleNamespace(time=lambda off=off: time.time() + off))
        found = examined(healthy)

        assert len(found) == told
        for finding in found:
            assert re.search(r"^the clock of \S+ is (1 h|60 min) away from the database's", finding.what)
            parses(healthy.settings, finding)


def test_what_does_not_answer_in_time_is_told(healthy: Database) -> None:
    with (
        Database(healthy.settings, statement_seconds=0.3) as hurried,
        psycopg.connect(healthy.settings.database_url or "") as rude,
    ):
        rude.execute("LOCK TABLE dev_processing_pauses")
        finding = the_one(hurried, "^no answer in time about: nodes, pauses")

    parses(healthy.settings, finding)


@pytest.mark.skipif(
    shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin") is None, reason="pgbouncer is not installed"
)
def test_a_pooler_in_transaction_mode(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with clusters.own_folder() as folder:
        pooler = poolers.Pooler(healthy.settings.database_url or "", folder)
        pooler.start()
        try:
            behind = dataclasses.replace(healthy.settings, database_url=pooler.url, poll_seconds=5.0)
            with Database(behind, pooled=False) as db:
                finding = the_one(db, "^a pooler stands between this process and the database")
            parses(healthy.settings, finding)
            assert finding.mend.startswith("export OPSKIT_POLL_SECONDS=1 ")
            with Database(dataclasses.replace(behind, poll_seconds=1.0)) as db:
                assert examined(db) == []
        finally:
            pooler.end()


@pytest.mark.slow
@pytest.mark.parametrize("slot", [True, False], ids=["slot", "no slot"])
def test_standbys_and_prepared_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slot: bool) -> None:
    with clusters.running_cluster({"max_prepared_transactions": "5"}) as primary:
        url = primary.create_database()
        settings = Settings.load({}, database_url=url, home=str(tmp_path))
        feedback = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}
        if slot:
            primary.ask("SELECT pg_create_physical_replication_slot('standby_b')")
            feedback["primary_slot_name"] = "standby_b"
        with Database(settings) as db, clusters.own_folder() as folder:
            migration.migrate(db)
            boot(db, "node-a", lease_seconds=600.0)
            ask(db, "BEGIN; CREATE TABLE prepared (); PREPARE TRANSACTION 'it''s old'")
            assert examined(db) == []
            monkeypatch.setattr(server, "LONG_SECONDS", 0.0)
            prepared = the_one(db, r"^the prepared transaction \"it's old\" is open for")
            assert prepared.mend == "ROLLBACK PREPARED 'it''s old';"
            ask(db, prepared.mend)
            assert examined(db) == []
            monkeypatch.setattr(server, "LONG_SECONDS", 600.0)

            standby = clusters.Cluster(folder / "standby", primary.options | feedback)
            try:
                standby.follow(primary, "standby-b")
                there = standby.url.rpartition("/")[0] + "/faults"
                with psycopg.connect(there) as reader:
                    reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                    reader.execute("SELECT count(*) FROM dev_uploaded_files")
                    held = (
                        "SELECT xmin FROM pg_replication_slots WHERE xmin IS NOT NULL" if slot
                        else "SELECT backend_xmin FROM pg_stat_replication WHERE backend_xmin IS NOT NULL"
                    )  # fmt: skip
                    until(lambda: primary.ask(held), 20)
                    assert examined(db) == []
                    for _ in range(10):
                        ask(db, "SELECT pg_current_xact_id()")
                    monkeypatch.setattr(server, "OLD_TRANSACTIONS", 5)
                    kind = "replication slot standby_b" if slot else "standby standby-b"
                    old = the_one(db, rf"^the {kind} holds an old snapshot \(.*\d+ transactions behind\)")
                    parses(settings, old)
                with Database(dataclasses.replace(settings, database_url=there), pooled=False) as second:
                    (first, *_) = examined(second)
                    assert (first.level, first.what) == ("error", "this server is a standby")
                    assert first.mend == 'export DATABASE_URL="$DATABASE_URL?target_session_attrs=read-write"'
                    parses(settings, first)
            finally:
                standby.remove()
            if slot:
                monkeypatch.setattr(server, "OLD_TRANSACTIONS", 100_000)
                until(lambda: primary.ask("SELECT 1 AS one FROM pg_replication_slots WHERE NOT active"), 20)
                gone = the_one(db, r"^the replication slot standby_b holds an old snapshot \(nobody connected")
                mend(settings, gone)
            until(lambda: not examined(db))


# -- the doors -----------------------------------------------------------------------------------


def test_the_shell_exits_with_1_for_an_error_and_with_0_for_warnings(
    healthy: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["doctor", "--database-url", healthy.settings.database_url or ""]

    assert cli(given) == 0
    assert "all is well (development)" in capsys.readouterr().out
    queue.pause(healthy, actor="me", reason="[bold]disk[/bold] full")
    assert cli(given) == 0
    assert "[bold]disk[/bold] full" in " ".join(capsys.readouterr().out.split())
    put_node(healthy, "node-a", "lease_until = now() - interval '1 minute'")
    files(healthy, "a")
    assert cli([*given, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)

    assert answer["environment"] == "development"
    assert [finding["level"] for finding in answer["findings"]] == ["error", "warning", "warning"]
    assert {"level", "what", "why", "mend", "check", "condition", "concerns"} == set(answer["findings"][0])


def test_every_door_gives_the_doctors_same_answer(
    healthy: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def python() -> list[dict[str, str]]:
        with Database(settings) as db:
            return [finding.facts() for finding in doctor.examine(db)]

    def shell() -> list[dict[str, str]]:
        cli(["doctor", "--json", "--database-url", settings.database_url or "", "--poll-seconds", "0.2"])
        return list(json.loads(capsys.readouterr().out)["findings"])

    def over_http() -> list[dict[str, str]]:
        async def asked() -> Any:
            transport = httpx.ASGITransport(create_api(healthy, settings), client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return (await client.get("/processing/doctor")).json()

        return list(asyncio.run(asked()))

    def page() -> list[dict[str, str]]:
        with Database(settings) as db:
            found: list[dict[str, str]] = readings.STATISTICS["doctor"](db)
            return found

    queue.pause(healthy, actor="me")
    ask(healthy, f"ALTER TABLE {settings.files} ALTER COLUMN processing_status DROP DEFAULT")
    ask(healthy, f"INSERT INTO {settings.files} (original_filename) VALUES ('waits')")
    some = python()
    assert len(some) >= 2
    assert shell() == over_http() == page() == some

    ask(healthy, f"ALTER TABLE {settings.files} DROP COLUMN processing_result")
    (lacking,) = python()
    assert "processing_result" in lacking["what"]
    assert shell() == over_http() == page() == [lacking]


def test_a_mend_acts_on_the_environment_that_was_examined(settings: Settings) -> None:
    odd = dataclasses.replace(settings, env="production", table="the files")
    with Database(odd, pooled=False) as db:
        lacking = the_one(db, "the files is missing")
        assert lacking.mend == "opskit migrate --env production --table 'the files'"
        # The shell's own environment is development, and another table's.
        mend(settings, lacking)
        queue.pause(db, actor="me")
        claimed(db, "node's own")
        put_node(db, "node's own", "lease_until = now() - interval '9 hours'")
        found = examined(db)
    for finding in found:
        parses(settings, finding)
        assert all("--env production --table 'the files'" in line for line in finding.mend.splitlines())
    mend(settings, next(finding for finding in found if "paused" in finding.what))

    with Database(odd, pooled=False) as db:
        assert not any("paused" in finding.what for finding in examined(db))


# -- the files -----------------------------------------------------------------------------------

QUERIES = sorted(f"doctor/{path.stem}" for path in (queries.FOLDER / "doctor").glob("[!_]*.sql"))
ASKED = set(re.findall(r'"(doctor/\w+)"', "".join(p.read_text() for p in Path(doctor.__file__).parent.glob("*.py"))))


def test_every_file_is_asked_by_a_check() -> None:
    assert set(QUERIES) == ASKED


@pytest.mark.parametrize("name", QUERIES)
def test_the_files_of_the_doctor_tell_what_they_do_and_run_in_psql(healthy: Database, name: str) -> None:
    lines = queries.text(name).splitlines()
    head = [line[2:].strip() for line in lines if line.startswith("--")]
    commands = [line for line in lines if not line.startswith("--")]
    shown = f'psql "$DATABASE_URL" -v env=development -f sql/{name}.sql'
    (statement,) = queries.statements(name)
    values = statement.values - healthy.names.keys()

    assert re.match("[A-Z].*[.:;]", head[0])
    assert shown in head
    assert commands[0] == r"\ir ../_session.sql"
    for value in values:
        assert any(re.match(rf"(\w+, )*{value}(, \w+)*  +\S", line) for line in head), f"{value} is not documented"
        assert f"\\if :{{?{value}}} \\else \\set {value} " in "\n".join(commands) or r"\ir _both.sql" in commands

    path = Path(psql_program()).parent
    done = subprocess.run(
        ["bash", "-c", shown.replace("psql ", "psql --csv ", 1)],
        env=environ(healthy.settings, PATH=f"{path}:/usr/bin:/bin"),
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    with healthy.connection() as connection:
        text = statement.compose(healthy.names)
        given: dict[str, Any] = dict.fromkeys(statement.values, None)
        columns = connection.execute(text, given or None).description or []
    assert done.stdout.splitlines()[0].split(",") == [column.name for column in columns]


def test_no_check_reads_the_whole_of_a_large_table(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plan over a table of two hundred thousand finished rows, as the server ran it."""
    finished(healthy, 200_000, "now()")
    ask(healthy, f"VACUUM ANALYZE {TABLE}")
    monkeypatch.setattr(work, "EXACT_BYTES", 2**20)
    with application(healthy.settings) as watcher:
        run(watcher, "SELECT pg_stat_reset_single_table_counters(%s::regclass)", values=(TABLE,))
        assert examined(healthy) == []
        healthy.close()

        def figure(query: str, *values: str) -> int:
            (row,) = run(watcher, f"SELECT ({query}) AS n", values=values)
            return int(row["n"])

        # A session tells what it has read when it ends.
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        until(lambda: figure(others) == 0)
        # A look at the last pages counts as a scan; it is bounded.
        assert figure("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = %s", TABLE) < 60_000
