"""Synchronous failover: the primary is killed, its standby promoted, and nothing that was called done is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit import migration
from opskit.database import Database
from tests.faults.conftest import settings_for
from tests.support.cluster import Cluster, own_folder
from tests.support.nodes import add_many, ask, counts, record, running_nodes, until
from tests.support.waiting import drained, eventually, prove, reasons

QUICK = {"wal_level": "replica", "max_wal_senders": "5", "wal_retrieve_retry_interval": "200ms"}


@contextlib.contextmanager
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary, and a standby whose word it waits for before it calls anything committed."""
    with own_folder() as home:
        primary = Cluster(home / "primary", QUICK)
        standby = Cluster(home / "standby", QUICK)
        try:
            primary.start()
            primary.create_database()
            standby.follow(primary, "standby")
            primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            primary.ask("SELECT pg_reload_conf()")
            eventually(lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == [{"sync_state": "sync"}])
            yield primary, standby
        finally:
            standby.remove()
            primary.remove()


@pytest.mark.slow
def test_after_a_synchronous_failover_every_completed_file_is_still_completed(tmp_path: Path) -> None:
    with pair() as (primary, standby):
        both = re.sub(r"@[^/]*/\w+", f"@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/faults", primary.url)
        url = f"{both}?target_session_attrs=read-write"
        with Database(settings_for(url, tmp_path)) as db:
            migration.migrate(db)
            record(db)
            add_many(db, 200)
            with running_nodes(db, tmp_path) as start:
                nodes = [start(f"node-{n}", act="effect", ACT_SECONDS="0.02") for n in range(3)]
                eventually(lambda: counts(db).get("completed", 0) >= 40)
                # What the primary has told anybody, the standby must know.
                promised = {row["file_id"] for row in ask(db, "SELECT file_id FROM effects")}
                primary.kill()
                standby.pg_ctl("promote", "-w")
                kept = eventually(lambda: {row["file_id"] for row in ask(db, "SELECT file_id FROM effects")})
                assert promised <= kept
                drained(db, 200, 40, *nodes)
                assert [node.process.poll() for node in nodes] == [None] * 3

            prove(db, 200)
            assert {outcome for outcome, _ in reasons(db)} <= {
                "raised",
                "released",
                "orphaned",
                "crashed",
                "interrupted",
            }


@pytest.mark.slow
def test_a_node_waits_for_a_standby_that_is_slow_to_confirm_and_does_not_give_its_work_up(tmp_path: Path) -> None:
    with pair() as (primary, standby):
        url = primary.url.rpartition("/")[0] + "/faults"
        # It asks after two seconds without an answer whether the server is still at work.
        with Database(settings_for(url, tmp_path, lease_seconds=12.0)) as db:
            migration.migrate(db)
            record(db)
            add_many(db, 40)
            with running_nodes(db, tmp_path) as start:
                node = start("node-a", act="effect", ACT_SECONDS="0.02")
                until(lambda: counts(db).get("completed", 0) >= 10)
                (receiver,) = standby.ask("SELECT pid FROM pg_stat_wal_receiver")
                os.kill(receiver["pid"], signal.SIGSTOP)
                time.sleep(5)
                waiting = ask(db, "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                os.kill(receiver["pid"], signal.SIGCONT)
                drained(db, 40, 30, node)

            assert waiting[0]["n"] >= 1
            prove(db, 40)
            assert reasons(db) == []
            assert "no answer" not in node.log
