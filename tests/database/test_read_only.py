"""A connection that only reads: every act is refused in one sentence, every reading works, and the server holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from psycopg import sql

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import DatabaseError, ForbiddenError
from opskit.queue import claims, nodes, reaper
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from tests.support.tables import application, boot, claim, claimed, files, opskit, put_node, run

NODE = Boot("node-a", "11111111-1111-4111-8111-111111111111", 1)
ACTS: dict[str, Callable[[Database], object]] = {
    "requeue": lambda db: queue.requeue(db, failed=True, actor="me"),
    "enqueue": lambda db: queue.enqueue(db, [__file__]),
    "insert": lambda db: queue.insert(db, [("/a", "a", 1)]),
    "adopt": lambda db: queue.adopt(db, "true", actor="me"),
    "pause": lambda db: queue.pause(db, actor="me"),
    "resume": lambda db: queue.resume(db, actor="me"),
    "drain": lambda db: queue.drain(db, "node-a", actor="me"),
    "register": lambda db: nodes.register(db, "node-a", NODE.boot),
    "prune": lambda db: queue.prune(db),
    "cleanup": lambda db: queue.cleanup(db, actor="me"),
    "claim": lambda db: claims.claim(db, NODE),
    "claim one": lambda db: claims.claim_one(db, NODE, "1"),
    "migrate": lambda db: migration.migrate(db),
    "rollback": lambda db: migration.rollback(db),
    "cut-over": lambda db: migration.queue_new(db),
}


@pytest.fixture
def reading(db: Database, settings: Settings) -> Iterator[Database]:
    """The test's database, with a claim whose node is dead, over a connection that only reads."""
    files(db, "a", "b")
    claim(db, boot(db))
    put_node(db, "node-a", "lease_until = now() - interval '1 hour'")
    with Database(dataclasses.replace(settings, read_only=True)) as own:
        yield own


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("act", ACTS)
def test_every_act_is_refused_in_one_sentence(reading: Database, db: Database, act: str) -> None:
    before = [str(stats.files(db).to_dict()), str(stats.events(db).to_dict())]

    with pytest.raises(ForbiddenError, match=r"^this connection is read-only \(OPSKIT_READ_ONLY\)"):
        ACTS[act](reading)

    assert [str(stats.files(db).to_dict()), str(stats.events(db).to_dict())] == before


def test_every_reading_works_and_the_preview_takes_no_look(reading: Database, db: Database) -> None:
    for one in (stats.distribution, stats.concurrency, stats.failures, stats.nodes, stats.stale, stats.evidence,
                stats.files, stats.events, stats.throughput, stats.timeline, stats.pauses):  # fmt: skip
        assert str(one(reading).dtypes) == str(one(db).dtypes)
    assert migration.missing(reading) == []
    assert doctor.examine(reading) is not None
    (suspected,) = queue.preview(reading)
    assert suspected["verdict"] == "silent"

    assert reaper.take_look(reading) is False
    with db.connection() as connection:
        assert run(connection, "SELECT looked_at FROM dev_processing_nodes") == [{"looked_at": None}]


def test_the_engine_only_reads_too(reading: Database) -> None:
    assert pd.read_sql("SELECT count(*) AS n FROM dev_uploaded_files", reading.engine)["n"].tolist() == [2]

    with pytest.raises(DatabaseError) as refused, reading.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM dev_uploaded_files")

    assert refused.value.sqlstate == "25006"


def test_a_dry_run_works_where_nothing_can_be_written(reading: Database, settings: Settings) -> None:
    with application(settings) as connection:
        name = sql.Identifier(connection.info.dbname)
        run(connection, "ALTER DATABASE {} SET default_transaction_read_only = on", name)

    done = opskit(settings, "cleanup", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "silent" in done.stdout
    assert "this was no look" in done.stderr


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"])
def test_times_beyond_pythons_calendar_break_nothing(db: Database, settings: Settings, moment: str) -> None:
    held, token = claimed(db)
    (queued,) = files(db, "q")
    with db.connection() as connection:
        run(connection, f"UPDATE dev_uploaded_files SET uploaded_at = '{moment}', processing_queued_at = '{moment}'")
        run(
            connection,
            f"UPDATE dev_uploaded_files SET processing_started_at = '{moment}' WHERE processing_token IS NOT NULL",
        )

    for one in (stats.distribution, stats.concurrency, stats.failures, stats.nodes, stats.stale, stats.evidence,
                stats.files, stats.longest_running, stats.timeline):  # fmt: skip
        one(db)
    assert claims.complete(db, id=held, token=token) == "done"
    with Database(settings, pooled=False, node=True) as own:
        answer = claims.claim(own, boot(db, "node-b"))
        assert answer.outcome == ("claimed" if moment.startswith(("-", "0044")) else "empty")
        if answer.row is not None:
            assert (answer.row["id"], answer.row["attempt"]) == (queued, 1)
            assert claims.complete(own, id=queued, token=answer.token) == "done"
