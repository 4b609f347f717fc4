"""Production and development: two worlds in one database, of which neither sees the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import claims
from opskit.settings import Settings
from tests.support.nodes import running_nodes
from tests.support.tables import (
    application,
    boot,
    claim,
    claimed,
    fail,
    files,
    opskit,
    put,
    put_node,
    row,
    rows,
    run,
    tables_of,
)

OTHER = {"production": "development", "development": "production"}


@pytest.fixture(params=["production", "development"])
def both(settings: Settings, request: pytest.FixtureRequest) -> Iterator[tuple[Database, Database]]:
    """The environment we work in, and the other, each migrated."""
    ours = dataclasses.replace(settings, env=request.param)
    theirs = dataclasses.replace(settings, env=OTHER[request.param])
    with Database(ours) as db, Database(theirs) as other:
        migration.migrate(db)
        migration.migrate(other)
        yield db, other


def populate(db: Database) -> dict[str, str]:
    """Something of everything that a verb could take hold of: the files' ids."""
    stale, failed, completed, before, gone, _ = files(db, "stale", "failed", "completed", "before", "gone", "queued")
    put(db, stale, "processing_status = 'processing', processing_server_id = 'x', "
                   "processing_started_at = now() - interval '2 hours'")  # fmt: skip
    put(db, failed, "processing_status = 'failed', processing_errors = 'bad', processing_completed_at = now()")
    put(db, completed, "processing_status = 'completed', processing_completed_at = now()")
    put(db, before, "processing_status = NULL")
    put(db, gone, "deleted = true")
    orphan, _ = claimed(db, "dead")
    boot(db, "old")
    boot(db, "node-a")
    reap = ", ".join(f"{column} = now() - interval '{{0}}'" for column in ("lease_until", "looked_lease", "looked_at"))
    put_node(db, "dead", reap.format("1 minute"))
    put_node(db, "old", reap.format("8 days"))
    # Under the server ID that the node of the other environment will have.
    put_node(db, "node-a", reap.format("1 minute"))
    boot(db, "node-b")
    put_node(db, "node-b", reap.format("1 minute"))
    queue.pause(db, "node-b", actor="them", reason="theirs")
    with db.connection() as connection:
        run(connection, "UPDATE {} SET at = now() - interval '100 days'", sql.Identifier(db.names["events"]))
    return {"stale": stale, "failed": failed, "completed": completed, "before": before, "orphan": orphan}


def snapshot(db: Database) -> dict[str, Any]:
    """Every row of an environment's four tables, with the transaction that wrote it; and their columns."""
    with application(db.settings) as connection:
        found: dict[str, Any] = {
            table: rows(connection, table, "*, xmin::text, ctid::text", "ctid") for table in tables_of(db.settings)
        }
        query = "SELECT column_name, column_default FROM information_schema.columns WHERE table_name = {} ORDER BY 1"
        found["columns"] = run(connection, query, sql.Literal(db.settings.files))
    return found


@pytest.mark.slow
def test_everything_done_in_one_environment_leaves_the_other_untouched(
    both: tuple[Database, Database], tmp_path: Path
) -> None:
    db, other = both
    populate(other)
    theirs = snapshot(other)
    ours = populate(db)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x")

    queue.preview(db)
    cleaned = queue.cleanup(db, actor="us")
    queue.requeue(db, [ours["failed"], ours["completed"]], actor="us")
    queue.requeue(db, failed=True, actor="us")
    queue.adopt(db, "true", actor="us")
    queue.enqueue(db, [tmp_path / "a.csv", tmp_path / "b.csv"])
    migration.queue_new(db, on=False)
    migration.queue_new(db)
    first = claim(db, boot(db, "by-hand"))
    assert first.row is not None
    fail(db, first.row["id"], first.token)
    queue.pause(db, actor="us")
    queue.resume(db, actor="us")
    pruned = queue.prune(db)
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain")
        code = node.end()
    doctor.examine(db, missing=migration.missing(db))
    for statistic in stats.STATISTICS.values():
        statistic(db)
    migration.migrate(db)
    left = {each["processing_status"] for each in db.run("distribution")}
    put_node(db, "by-hand", "lease_until = now() - interval '1 minute'")
    migration.rollback(db, confirm=db.settings.files)

    assert (len(cleaned.ended), pruned["nodes"], code, left) == (2, 1, 0, {"completed"}), node.log
    assert pruned["events"] > 0
    assert snapshot(other) == theirs
    assert migration.missing(other) == []


def test_a_node_of_one_environment_neither_sees_nor_claims_the_others_files(both: tuple[Database, Database]) -> None:
    db, other = both
    files(other, "theirs")
    queue.pause(other, actor="them")

    empty = claims.claim(db, boot(db))
    (mine,) = files(db, "ours")
    taken = claim(db, boot(db, "node-b"))

    assert (empty.outcome, empty.next_seconds) == ("empty", None)
    assert taken.row is not None
    assert (taken.row["id"], taken.row["original_filename"]) == (mine, "ours")
    assert claims.claim(other, boot(other)).outcome == "paused"


def test_the_same_server_id_lives_in_both_environments_with_a_claim_in_each(both: tuple[Database, Database]) -> None:
    db, other = both

    (ours, our_token), (theirs, their_token) = claimed(db, "node-a"), claimed(other, "node-a")

    assert ours == theirs
    assert our_token != their_token
    assert claims.complete(db, id=ours, token=our_token) == "done"
    assert row(other, theirs)["processing_status"] == "processing"
    assert stats.nodes(other)["server_id"].tolist() == ["node-a"]


def test_development_is_the_default_and_only_the_prefix_tells_them_apart() -> None:
    named = {
        env: tables_of(Settings.load({"OPSKIT_ENV": env} if env else {})) for env in ("production", "development", "")
    }

    assert named["production"] == [
        "uploaded_files",
        "processing_nodes",
        "processing_events",
        "processing_pauses",
        "processing_logs",
    ]
    assert named["development"] == named[""] == [f"dev_{name}" for name in named["production"]]


UNKNOWN = ["staging", "prod", "Production", "dev", "production;development"]


@pytest.mark.parametrize("env", UNKNOWN)
def test_an_unknown_environment_is_refused_with_the_two_that_there_are(env: str) -> None:
    with pytest.raises(SettingError, match=f"OPSKIT_ENV is '{env}'.*'production' or 'development'"):
        Settings.load({"OPSKIT_ENV": env})
    with pytest.raises(SettingError, match="'production' or 'development'"):
        Settings.load({}, env=env)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("opskit", ["stats"]),
        ("opskit", ["cleanup", "--json"]),
        ("opskit", ["migrate"]),
        ("opskit", ["info", "--env", "staging"]),
        ("opskit.worker", ["--drain"]),
    ],
)
def test_the_shell_refuses_an_unknown_environment_in_one_sentence(
    settings: Settings, module: str, arguments: list[str]
) -> None:
    done = opskit(settings, *arguments, module=module, OPSKIT_ENV="staging")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("opskit: OPSKIT_ENV is 'staging'")
    assert "'production' or 'development'" in done.stderr
    with application(settings) as connection:
        assert run(connection, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
