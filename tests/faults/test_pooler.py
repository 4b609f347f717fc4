"""PgBouncer in transaction mode stands between the nodes and the database, and is itself killed."""

from __future__ import annotations

import dataclasses
import signal
import time
from pathlib import Path

import psycopg
import pytest

from opskit import queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.queue import claims
from tests.support.nodes import add_files, add_many, ask, counts, record, running_nodes, status, until
from tests.support.pooler import PGBOUNCER, Pooler, pooler
from tests.support.tables import boot, files, row
from tests.support.waiting import drained, eventually, prove, reasons

__all__ = ["pooler"]

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.mark.slow
def test_nodes_work_behind_pgbouncer_and_outlive_its_death(db: Database, pooler: Pooler, tmp_path: Path) -> None:
    record(db)
    add_many(db, 200)
    behind = Database(dataclasses.replace(db.settings, database_url=pooler.url))

    with running_nodes(behind, tmp_path) as start:
        nodes = [start(f"node-{n}", act="effect", ACT_SECONDS="0.02") for n in range(3)]
        eventually(lambda: counts(db).get("completed", 0) >= 50)
        pooler.end()
        time.sleep(0.5)
        pooler.start()
        drained(db, 200, 30, *nodes)

        # Nobody listens: what comes later is found by polling.
        add_many(db, 5)
        drained(db, 205, 30, *nodes)
        listening = ask(db, "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")

    prove(db, 205)
    assert listening == [{"n": 0}]
    assert {outcome for outcome, _ in reasons(db)} <= {"raised", "released", "interrupted"}
    for node in nodes:
        assert "prepared statement" not in node.log
        assert "PostgreSQL says" not in node.log


@pytest.mark.slow
def test_a_node_behind_a_frozen_pgbouncer_stops_its_child_and_goes_on_when_it_thaws(
    db: Database, pooler: Pooler, tmp_path: Path
) -> None:
    record(db)
    add_many(db, 100)
    behind = Database(dataclasses.replace(db.settings, database_url=pooler.url))

    with running_nodes(behind, tmp_path) as start:
        node = start("node-a", act="effect", ACT_SECONDS="0.02")
        eventually(lambda: counts(db).get("completed", 0) >= 20)
        pooler.freeze()
        until(lambda: "could not reach the database for a whole lease" in node.log)
        pooler.freeze(signal.SIGCONT)
        drained(db, 100, 30, node)

    prove(db, 100)


@pytest.mark.slow
def test_a_database_s_settings_change_nothing_behind_pgbouncer(db: Database, pooler: Pooler, tmp_path: Path) -> None:
    name = (db.settings.database_url or "").rpartition("/")[2]
    for setting in ("intervalstyle = sql_standard", "bytea_output = escape", "statement_timeout = '300ms'",
                    "datestyle = 'SQL, DMY'", "default_transaction_isolation = serializable"):  # fmt: skip
        ask(db, f"ALTER DATABASE {name} SET {setting}")
    record(db)
    add_many(db, 20)
    behind = Database(dataclasses.replace(db.settings, database_url=pooler.url))

    with running_nodes(behind, tmp_path) as start:
        node = start("node-a", act="effect")
        drained(db, 20, 30, node)
    with behind:
        (odd,) = behind.run("doctor/session")
        with behind.connection() as connection:
            inside = connection.execute(
                "SELECT current_setting('statement_timeout') AS t, interval '1 day' AS d"
            ).fetchone()
            with connection.transaction():
                within = connection.execute("SELECT current_setting('transaction_isolation') AS i").fetchone()

    prove(db, 20)
    assert odd["now"].tzinfo is not None
    assert inside is not None
    assert within is not None
    assert (inside["t"], inside["d"].days, within["i"]) == ("0", 1, "read committed")
    with psycopg.connect(pooler.url, autocommit=True) as theirs:
        # Nothing of ours stays in the pooler's sessions for the application.
        assert theirs.execute("SHOW statement_timeout").fetchone() == ("300ms",)


def test_read_only_holds_behind_pgbouncer(db: Database, pooler: Pooler) -> None:
    add_many(db, 1)
    settings = dataclasses.replace(db.settings, database_url=pooler.url, read_only=True)

    with Database(settings) as behind:
        assert len(stats.files(behind)) == 1
        with pytest.raises(DatabaseError) as refused, behind.engine.connect() as connection:
            connection.exec_driver_sql("DELETE FROM dev_uploaded_files")

    assert refused.value.sqlstate == "25006"
    assert counts(db) == {"queued": 1}


@pytest.mark.slow
def test_a_file_that_its_processor_has_locked_is_cancelled_within_a_beat_behind_the_pooler(
    db: Database, pooler: Pooler, tmp_path: Path
) -> None:
    record(db)
    (file,) = add_files(db, "a")
    with running_nodes(db, tmp_path) as start:
        start("node-a", act="effect_then_wait", ACT_SECONDS="3600", DATABASE_URL=pooler.url, OPSKIT_LEASE_SECONDS="3")
        until(lambda: db.run("held", server_id="node-a"))
        until(lambda: ask(db, "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'"))

        begun = time.monotonic()
        queue.cancel(db, [file], actor="ann")
        until(lambda: status(db, file) == "failed", 10)
        waited = time.monotonic() - begun

    assert ask(db, "SELECT * FROM effects") == []
    assert waited < 3, waited  # a beat is a second here; the rest is the machine's


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("setting", ["DateStyle = 'German, DMY'", "quote_all_identifiers = on", ""])
def test_behind_pgbouncer_a_block_and_its_completion_commit_together_whatever_the_database_is_set_to(
    db: Database, pooler: Pooler, setting: str
) -> None:
    ask(db, "CREATE TABLE effects (file_id text)")
    if setting:
        ask(db, f"ALTER DATABASE {(db.settings.database_url or '').rpartition('/')[2]} SET {setting}")
    ids = files(db, "left", "whole")
    with Database(dataclasses.replace(db.settings, database_url=pooler.url), pooled=False, node=True) as behind:
        node = boot(behind, "node-a")
        left = claims.claim_one(behind, node, ids[0])
        assert behind.pooler

        def leaving() -> None:
            with claims.completing(behind, id=ids[0], token=left.token, result=None) as tx:
                tx.execute("INSERT INTO effects VALUES (%s)", (ids[0],))
                raise ValueError("line 17")

        with pytest.raises(ValueError, match="line 17"):
            leaving()
        after = row(db, ids[0])["processing_status"]
        claims.release(behind, id=ids[0], token=left.token, reason="told to", actor="me")
        whole = claims.claim_one(behind, node, ids[1])
        with claims.completing(behind, id=ids[1], token=whole.token, result=None) as tx:
            tx.execute("INSERT INTO effects VALUES (%s)", (ids[1],))

    assert after == "processing"
    assert row(db, ids[1])["processing_status"] == "completed"
    assert ask(db, "SELECT file_id FROM effects") == [{"file_id": ids[1]}]
