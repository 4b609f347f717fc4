"""Findings about the server: connections, vacuum, standbys, clocks, poolers."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from opskit import migration
from opskit.database import Database
from opskit.doctor import Finding, server
from opskit.settings import Settings
from tests.support import cluster as clusters
from tests.support import pooler as poolers
from tests.support.examining import examined, finished, mend, parses, role, the_one
from tests.support.nodes import ask, until
from tests.support.tables import application, boot, run

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"


def reset(settings: Settings, name: str) -> None:
    """Take a setting of the server back."""
    with application(settings) as connection:
        run(connection, f"ALTER SYSTEM RESET {name}")
        run(connection, "SELECT pg_reload_conf()")


@pytest.mark.slow
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


@pytest.mark.fast_cases(1)
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
            assert re.search(r"^the clock of \S+ is 1 h away from the database's", finding.what)
            parses(healthy.settings, finding)


def test_what_does_not_answer_in_time_is_told(healthy: Database) -> None:
    with (
        Database(healthy.settings, statement_seconds=0.3) as hurried,
        psycopg.connect(healthy.settings.database_url or "") as rude,
    ):
        rude.execute("LOCK TABLE dev_processing_pauses")
        finding = the_one(hurried, "^no answer in time about: nodes, pauses")

    parses(healthy.settings, finding)


@pytest.mark.slow
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
                    until(lambda: primary.ask(held))
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
                until(lambda: primary.ask("SELECT 1 AS one FROM pg_replication_slots WHERE NOT active"))
                gone = the_one(db, r"^the replication slot standby_b holds an old snapshot \(nobody connected")
                mend(settings, gone)
            until(lambda: not examined(db))
