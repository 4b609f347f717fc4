"""What is reported as done is what PostgreSQL says it did: rows taken, rows changed, indexes that are valid."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from opskit import queue
from opskit.cli.main import main
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.migration import applying, state
from opskit.settings import Settings
from opskit.support.progress import Progress
from tests.support.nodes import ask, until
from tests.support.tables import claimed, files, put, put_node, row


def keeps_out(db: Database, event: str, body: str, *, table: str = "") -> None:
    """A trigger of the application's, whose name sorts before and after none of ours."""
    table = table or db.settings.files
    ask(db, f"CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    ask(db, f"CREATE TRIGGER zz_app BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION app()")


# -- intake ------------------------------------------------------------------------------------


def test_enqueue_counts_the_rows_that_the_table_has_taken_and_tells_of_the_others(db: Database, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_text("x")
    keeps_out(db, "INSERT", "RETURN CASE WHEN NEW.original_filename = 'b.csv' THEN NULL ELSE NEW END;")
    told: list[str] = []
    counted: list[Progress] = []

    count = queue.enqueue(db, [tmp_path], on_line=told.append, on_progress=counted.append)

    assert count == counted[-1].done == 2 == len(ask(db, "SELECT 1 AS one FROM dev_uploaded_files"))
    assert len(told) == 1
    assert "dev_uploaded_files has taken 2 of 3 files: a BEFORE INSERT trigger" in told[0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("RETURN NULL;", "keeps its row out"),
        ("NEW.processing_status := NULL; RETURN NEW;", "makes its processing_status None"),
    ],
)
def test_an_upload_whose_row_the_table_does_not_queue_is_refused_and_leaves_nothing(
    db: Database, settings: Settings, body: str, said: str
) -> None:
    keeps_out(db, "INSERT", body)

    with pytest.raises(DatabaseError, match=f"'sales.csv' cannot be queued: a trigger .* {said}.*nothing was queued"):
        queue.upload(db, [("sales.csv", io.BytesIO(b"1,2"))], limit_bytes=100)

    assert not ask(db, "SELECT 1 AS one FROM dev_uploaded_files")
    assert not [path for path in Path(settings.storage_root).rglob("*") if path.is_file()]


@pytest.mark.parametrize("body", ["RETURN NULL;", "NEW.processing_status := OLD.processing_status; RETURN NEW;"])
def test_adopt_counts_only_rows_that_are_queued_then(db: Database, body: str) -> None:
    given = "(original_filename, processing_status) VALUES ('one', NULL), ('other', NULL)"
    made = ask(db, f"INSERT INTO dev_uploaded_files {given} RETURNING id::text AS id")
    one, other = (each["id"] for each in made)
    keeps_out(db, "UPDATE", f"IF NEW.id::text = '{other}' THEN {body} END IF; RETURN NEW;")

    assert queue.adopt(db, "true", actor="test") == 1

    assert [row(db, id)["processing_status"] for id in (one, other)] == ["queued", None]
    assert [event["reason"] for event in db.run("events", file_id="", kind="adopt", row_limit=9)] == [
        "1 row from before"
    ]


@pytest.mark.parametrize("body", ["RETURN NULL;", "NEW.processing_status := OLD.processing_status; RETURN NEW;"])
def test_requeue_answers_and_notes_only_files_that_are_queued_then(db: Database, body: str) -> None:
    one, other = files(db, "one", "other")
    for id in (one, other):
        put(db, id, "processing_status = 'failed', processing_completed_at = now(), processing_errors = 'bad'")
    keeps_out(db, "UPDATE", f"IF NEW.id::text = '{other}' THEN {body} END IF; RETURN NEW;")

    done = queue.requeue(db, [one, other], actor="test")

    assert [each["id"] for each in done] == [one]
    assert [row(db, id)["processing_status"] for id in (one, other)] == ["queued", "failed"]
    assert [event["file_id"] for event in db.run("events", file_id="", kind="requeue", row_limit=9)] == [one]


# -- the reaper --------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["RETURN NULL;", "NEW.processing_status := OLD.processing_status; RETURN NEW;"])
def test_cleanup_does_not_say_ended_of_a_claim_that_the_table_keeps(db: Database, body: str) -> None:
    id, _ = claimed(db)
    put_node(db, "node-a", "first_epoch = first_epoch + 1000")  # its node has started again since
    keeps_out(db, "UPDATE", body)

    done = queue.cleanup(db, actor="test")

    assert row(db, id)["processing_status"] == "processing"
    assert done.ended == []
    assert [each["id"] for each in done.pending] == [id]
    assert "a trigger or rule of the table does not let its row be changed" in done.pending[0]["reason"]
    assert db.run("events", file_id=id, kind="attempt", row_limit=9) == []


# -- the migration -----------------------------------------------------------------------------


@pytest.mark.slow
def test_an_index_that_a_deadlock_left_invalid_is_built_again(db: Database) -> None:
    index = db.names["queue_index"]
    (id,) = files(db, "one")
    ask(db, f"DROP INDEX {index}")
    ended: list[Any] = []
    migration = threading.Thread(target=lambda: ended.append(applying.migrate(db)))
    waiting = (
        "SELECT 1 AS one FROM pg_stat_activity WHERE query LIKE '%CREATE INDEX CONCURRENTLY%' "
        "AND wait_event_type = 'Lock' AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(db.settings.database_url or "") as other:
        other.execute("SET deadlock_timeout = '1h'")  # the migration is who gives way
        other.execute(f"UPDATE dev_uploaded_files SET file_size = 2 WHERE id = {id}".encode())
        migration.start()
        until(lambda: ask(db, waiting), what="the index waits for the writer")

        other.execute("LOCK TABLE dev_uploaded_files IN SHARE UPDATE EXCLUSIVE MODE")
        assert not ask(db, f"SELECT 1 AS one FROM pg_index WHERE indexrelid = '{index}'::regclass AND indisvalid")
    migration.join(30)

    assert len(ended) == 1
    assert ask(db, f"SELECT 1 AS one FROM pg_index WHERE indexrelid = '{index}'::regclass AND indisvalid")
    assert state.missing(db) == []


def test_a_migration_that_left_something_lacking_says_so(db: Database) -> None:
    guard = db.names["guard"]
    ask(db, f"DROP TRIGGER {guard} ON dev_uploaded_files")
    ask(db, "CREATE FUNCTION off() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
            "ALTER TABLE dev_uploaded_files DISABLE TRIGGER USER; END $$")  # fmt: skip
    ask(db, "CREATE EVENT TRIGGER off ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION off()")

    with pytest.raises(
        DatabaseError, match=f"every statement of the migration was run, and yet .*{guard} is switched off"
    ):
        applying.migrate(db)


@pytest.mark.parametrize(("default", "queues"), [("queued", True), ("unqueued", False), ("not queued yet", False)])
def test_a_default_is_the_cut_over_only_if_it_is_the_state_queued(db: Database, default: str, queues: bool) -> None:
    ask(db, f"ALTER TABLE dev_uploaded_files ALTER COLUMN processing_status SET DEFAULT '{default}'")

    assert state.queues_new(db) is queues


def test_the_shell_does_not_offer_a_second_look_at_a_claim_that_the_table_keeps(
    db: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed(db)
    put_node(db, "node-a", "first_epoch = first_epoch + 1000")
    keeps_out(db, "UPDATE", "RETURN NULL;")
    monkeypatch.setenv("DATABASE_URL", db.settings.database_url or "")
    monkeypatch.setenv("OPSKIT_ENV", "development")

    assert main(["cleanup"]) == 0

    told = capsys.readouterr().out
    assert "No stale processing locks found" in told
    assert "1 should end, and the table does not let their rows be changed" in told
    assert "second look" not in told
