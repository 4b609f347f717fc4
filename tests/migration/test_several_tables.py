"""Several tables in one schema: each is a fleet of its own, and no node, pause or history is another's."""

from __future__ import annotations

import dataclasses
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from opskit import doctor, migration, queue, stats
from opskit.database import Database, queries
from opskit.database.names import names
from opskit.errors import MigrationRefusedError, SettingError
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from opskit.settings import LONGEST_TABLE_NAME, Settings
from tests.migration.test_migration import dump
from tests.support.nodes import ask
from tests.support.tables import ask_psql, boot, claim, environ, fail, files, opskit, psql, psql_program, row

TABLE = "CREATE TABLE {} (id bigserial PRIMARY KEY, original_filename text, processed boolean)"


@pytest.fixture
def two(settings: Settings) -> Iterator[tuple[Database, Database]]:
    """The application's two tables; neither is migrated."""
    invoices = dataclasses.replace(settings, table="invoices")
    with Database(settings, pooled=False) as one, Database(invoices, pooled=False) as other:
        for db in (one, other):
            ask(db, TABLE.format(db.settings.files))
        yield one, other


def migrate(db: Database, door: str) -> None:
    if door == "python":
        migration.migrate(db)
        migration.queue_new(db)
    elif door == "shell":
        for more in ((), ("--queue-new",)):
            done = opskit(db.settings, "migrate", *more)
            assert done.returncode == 0, done.stderr
    else:
        for name in ("migrate", "queue_new"):
            done = psql(
                db.settings, "-v", "env=development", "-v", f"table={db.settings.table}", "-f", f"sql/{name}.sql"
            )
            assert done.returncode == 0, done.stderr


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("door", ["python", "shell", "psql"])
def test_two_tables_share_no_node_no_pause_and_no_history(two: tuple[Database, Database], door: str) -> None:
    uploads, invoices = two
    before = dump(uploads)
    migrate(uploads, door)
    alone = dump(uploads)
    migrate(invoices, door)
    (upload,), (invoice,) = files(uploads, "upload"), files(invoices, "invoice")

    # Nodes of one name, at once; the file of each has the id of the other's.
    a, b = boot(uploads, "node-a"), boot(invoices, "node-a")
    assert upload == invoice
    assert claim(uploads, a).row["original_filename"] == "upload"  # type: ignore[index]
    taken = claim(invoices, b)
    fail(invoices, invoice, taken.token, outcome="rejected", error="an invoice")
    if door == "python":
        queue.pause(invoices, "*", actor="me")
    elif door == "shell":
        assert opskit(invoices.settings, "pause", "--all").returncode == 0
    else:
        psql(invoices.settings, "-v", "env=development", "-v", "table=invoices", "-v", "scope=*", "-v", "actor=me",
             "-f", "sql/pause.sql")  # fmt: skip
    files(uploads, "next")
    files(invoices, "next")
    c, d = boot(uploads, "node-b"), boot(invoices, "node-b")

    assert (claims.claim(uploads, c).outcome, claims.claim(invoices, d).outcome) == ("claimed", "paused")
    assert not stats.events(uploads)["reason"].eq("an invoice").any()
    assert stats.events(invoices)["reason"].eq("an invoice").any()
    assert len(stats.nodes(uploads)) == len(stats.nodes(invoices)) == 2
    counted = {db: db.one("concurrency", stale_after_seconds=3600)["total_files"] for db in two}
    assert counted == {uploads: 2, invoices: 2}
    assert migration.missing(uploads) == migration.missing(invoices) == []
    assert not [one for one in doctor.examine(uploads, missing=[]) if "pause" in one.what]
    assert len(ask_psql(dataclasses.replace(invoices.settings, table="invoices"), "pauses", table="invoices")) == 1
    assert ask_psql(uploads.settings, "pauses") == []

    ask(invoices, f"UPDATE {invoices.names['nodes']} SET lease_until = now() - interval '1 s'")
    migration.rollback(invoices, confirm="dev_invoices")
    if door != "psql":  # which migrates both environments
        assert dump(uploads) == alone
    assert migration.missing(uploads) == []
    assert row(uploads, upload)["processing_status"] == "processing"
    ask(uploads, f"UPDATE {uploads.names['nodes']} SET lease_until = now() - interval '1 s'")
    migration.rollback(uploads, confirm="dev_uploaded_files")
    if door != "psql":
        assert dump(uploads) == before


@pytest.mark.parametrize("env", ["development", "production"])
@pytest.mark.parametrize("table", ["t" * LONGEST_TABLE_NAME, "ü" * (LONGEST_TABLE_NAME // 2)])
def test_a_name_of_forty_bytes_fits_with_every_suffix(settings: Settings, env: str, table: str) -> None:
    with Database(dataclasses.replace(settings, table=table, env=env), pooled=False) as db:
        migration.migrate(db)
        made = ask(
            db,
            """SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'S'
               UNION ALL
               SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""",
        )
        missing = migration.missing(db)
        again = migration.plan(db)

    assert LONGEST_TABLE_NAME == 40
    assert max(len(name.encode()) for name in db.names.values()) <= 63
    assert {row["name"] for row in made} <= set(db.names.values()) | {
        f"{name}_pkey"
        for name in (*(db.names[key] for key in ("nodes", "events", "pauses", "logs")), db.settings.files)
    }
    assert (missing, again) == ([], [])


def test_a_longer_name_is_refused_in_one_sentence_by_shell_and_psql(settings: Settings) -> None:
    with pytest.raises(SettingError, match="at most 40 bytes"):
        dataclasses.replace(settings, table="t" * 41)
    done = psql(settings, "-v", f"table={'t' * 41}", "-f", "sql/distribution.sql")

    assert done.returncode == 3
    assert "more than 40 bytes" in done.stderr


def test_the_names_of_uploaded_files_stay_as_they_were(settings: Settings) -> None:
    ours = names(dataclasses.replace(settings, env="production"))

    assert [ours[key] for key in ("nodes", "events", "pauses", "events_by_kind", "nodes_key")] == [
        "processing_nodes", "processing_events", "processing_pauses", "processing_events_by_kind",
        "processing_nodes_server_id_epoch_key"]  # fmt: skip


# -- from the version before, in which all tables shared one registry -------------------------


def older(db: Database) -> Database:
    """The database as the version before saw it."""
    before = Database(dataclasses.replace(db.settings, lease_seconds=600.0), pooled=False)
    default = names(dataclasses.replace(db.settings, table="uploaded_files"))
    kept = ("nodes", "events", "pauses", "nodes_key", "nodes_state", "nodes_orphan")
    before.names = {**db.names, **{key: name for key, name in default.items() if key in kept or "events_by" in key}}
    return before


def register(db: Database, name: str) -> Boot:
    found = nodes.register(db, name, str(uuid.uuid4()))
    assert found is not None
    return found


@pytest.mark.parametrize("door", ["python", "psql"])
def test_a_shared_history_is_parted_by_what_can_be_known(two: tuple[Database, Database], door: str) -> None:
    uploads, invoices = two
    migration.migrate(uploads)
    with older(invoices) as before:
        migration.migrate(before)
        shared, dead = files(before, "shared id", "dead")
        (upload,) = files(uploads, "shared id")
        ids = files(before, "an invoice alone")
        node = register(before, "node-i")
        for id in (shared, *ids):
            fail(before, id, claims.claim_one(before, node, id).token, outcome="rejected", error=f"invoice {id}")
        mine = boot(uploads, "node-u")
        fail(uploads, upload, claims.claim_one(uploads, mine, upload).token, outcome="rejected", error="upload")
        claims.claim_one(before, node, dead)
        queue.pause(before, "*", actor="me")
    with pytest.raises(MigrationRefusedError, match="node-i is alive"):
        migration.plan(invoices)
    refused = psql(invoices.settings, "-v", "table=invoices", "-f", "sql/migrate.sql")
    ask(uploads, "UPDATE dev_processing_nodes SET lease_until = now() - interval '1 s' WHERE server_id = 'node-i'")
    files(uploads, "in hand")
    ask(uploads, "DELETE FROM dev_processing_pauses")
    claim(uploads, mine)  # alive, and at work on the other table
    queue.pause(uploads, "*", actor="me")

    said: list[str] = []
    if door == "python":
        migration.migrate(invoices, on_line=said.append)
    else:
        done = psql(invoices.settings, "-v", "env=development", "-v", "table=invoices", "-f", "sql/migrate.sql")
        assert done.returncode == 0, done.stderr

    assert refused.returncode == 3
    assert "node-i is alive" in refused.stderr
    reasons = {db: set(stats.events(db)["reason"]) for db in two}
    assert f"invoice {ids[0]}" in reasons[invoices] - reasons[uploads]
    assert {"upload", f"invoice {shared}"} <= reasons[uploads] - reasons[invoices]
    (told,) = [reason for reason in reasons[invoices] if reason and reason.startswith("events moved here")]
    assert told.endswith("left there, of files whose id another table has, too: 2")
    assert door == "psql" or f"dev_invoices: {told}" in said
    assert list(stats.nodes(invoices)["server_id"]) == ["node-i"]
    assert list(stats.pauses(invoices)["scope"]) == ["*"]
    assert migration.missing(invoices) == migration.plan(invoices) == []
    assert migration.missing(uploads) == migration.plan(uploads) == []
    columns = "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'dev_invoices'"
    migration.rollback(invoices, confirm="dev_invoices")
    assert {row["name"] for row in ask(invoices, columns)} == {"id", "original_filename", "processed"}
    assert migration.missing(uploads) == []


def test_a_table_that_had_the_registry_to_itself_takes_all_of_it(two: tuple[Database, Database]) -> None:
    _, invoices = two
    before = dump(invoices)
    with older(invoices) as earlier:
        migration.migrate(earlier)
        (id,) = files(earlier, "a")
        node = register(earlier, "node-i")
        fail(earlier, id, claims.claim_one(earlier, node, id).token, outcome="rejected", error="bad")
    with pytest.raises(MigrationRefusedError, match="run: opskit migrate"):
        migration.rollback(invoices, confirm="dev_invoices")
    ask(invoices, "UPDATE dev_processing_nodes SET lease_until = now() - interval '1 s'")

    migration.migrate(invoices)

    assert {"boot", "attempt", "migrate"} == set(stats.events(invoices)["kind"])
    assert list(stats.nodes(invoices)["server_id"]) == ["node-i"]
    migration.rollback(invoices, confirm="dev_invoices")
    assert dump(invoices) == before


# -- the way back, and the way out -------------------------------------------------------------


def test_a_rollback_that_drops_a_history_has_to_name_the_table(two: tuple[Database, Database]) -> None:
    uploads, _ = two
    migration.migrate(uploads)
    migration.rollback(uploads)  # nothing has happened yet
    migration.migrate(uploads)
    (id,) = files(uploads, "a")
    fail(uploads, id, claim(uploads, boot(uploads)).token, outcome="rejected", error="bad")
    ask(uploads, f"UPDATE {uploads.names['nodes']} SET lease_until = now() - interval '1 s'")

    for confirm in ("", "dev_invoices"):
        with pytest.raises(MigrationRefusedError, match=r"confirm='dev_uploaded_files'") as refused:
            migration.rollback(uploads, confirm=confirm)
        assert "2 events of its history and 1 states and results" in str(refused.value)
    assert migration.missing(uploads) == []

    assert opskit(uploads.settings, "migrate", "--rollback", "--yes").returncode == 0
    assert "processing_status" not in [row["column_name"] for row in uploads.run("all_columns")]


def test_the_python_migration_ends_with_the_cleanup_of_the_verb(two: tuple[Database, Database]) -> None:
    uploads, _ = two
    ask(
        uploads,
        "ALTER TABLE dev_uploaded_files ADD processing_status text, ADD processing_started_at timestamptz",
    )
    ask(
        uploads,
        "INSERT INTO dev_uploaded_files (processing_status, processing_started_at) "
        "VALUES ('processing', now() - interval '3 h')",
    )

    ran = migration.migrate(uploads, actor="me")

    assert [row["outcome"] for row in ran.cleaned.ended] == ["failed"]
    assert queue.adopt(uploads, "true", actor="me") == 0


PRINTED = [*sorted(path.stem for path in queries.FOLDER.glob("[!_]*.sql")), "doctor/environments", "doctor/queue"]


def test_a_printed_query_includes_nothing() -> None:
    assert [name for name in PRINTED if "\\ir" in queries.standalone(name)] == []


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["distribution", "longest_running", "queue_new", "doctor/environments", "migrate"])
def test_a_printed_query_runs_in_psql_from_an_empty_folder(settings: Settings, tmp_path: Path, name: str) -> None:
    with Database(settings, pooled=False) as db:
        migration.migrate(db)
        files(db, "a")
    printed = opskit(settings, "query", name)

    done = subprocess.run(
        [psql_program(), settings.database_url or "", "--csv", "-v", "env=development", "-f", "-"],
        input=printed.stdout, env=environ(settings), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (printed.returncode, done.returncode) == (0, 0), done.stderr
    assert name != "distribution" or done.stdout == "processing_server_id,processing_status,file_count\n,queued,1\n"
