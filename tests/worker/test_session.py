"""What a processor leaves in its database session costs its file at most: the next one meets it as it was made."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest
from psycopg.rows import tuple_row

from opskit.database import Database
from opskit.database.session import Connection
from opskit.files.claimed import ClaimedFile
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus
from tests.support.nodes import ask, status
from tests.support.tables import boot, files, row

LEAVE: dict[str, Any] = {
    "settings": "SET timezone = 'Asia/Tokyo'; SET statement_timeout = 900; SET search_path = pg_temp",
    "set_config": "SELECT set_config('search_path', 'nowhere', false)",
    "role": "SET ROLE pg_monitor",
    "session authorization": "SET SESSION AUTHORIZATION pg_monitor",
    "characteristics": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
    "advisory lock": "SELECT pg_advisory_lock(7)",
    "temp table": "CREATE TEMP TABLE left_behind (a int)",
    "cursor": "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
    "listen": "LISTEN left_behind",
    "prepare": "PREPARE left_behind AS SELECT 1",
    "deallocate": "DEALLOCATE ALL",
    "deallocate unseen": "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$",
    "plans": "SET enable_seqscan = on; SET plan_cache_mode = force_custom_plan",
    "row factory": lambda tx: setattr(tx, "row_factory", tuple_row),
    "threshold": lambda tx: setattr(tx, "prepare_threshold", None),
    "handler": lambda tx: tx.add_notice_handler(print),
    "transaction": lambda tx: tx.transaction().__enter__(),
}


def look(tx: Connection) -> dict[str, Any]:
    cursor = psycopg.Cursor(tx)
    cursor.row_factory = tuple_row  # type: ignore[assignment]
    asked = """
        SELECT current_user::text, session_user::text, current_setting('timezone'), current_setting('search_path'),
               current_setting('statement_timeout'), current_setting('work_mem'), current_setting('enable_seqscan'),
               current_setting('plan_cache_mode'), current_setting('default_transaction_read_only'),
               current_setting('default_transaction_isolation'), current_setting('tcp_keepalives_idle'),
               (SELECT count(*) FROM pg_cursors WHERE name = 'left_behind'),
               (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), to_regclass('pg_temp.left_behind')::text,
               (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
               (SELECT array_agg(c) FROM pg_listening_channels() AS c WHERE c NOT LIKE 'opskit%')
    """
    found = cursor.execute(asked).fetchone()
    handlers = (len(tx._notice_handlers), tx._num_transactions)
    return {"session": list(found or ()), "row": tx.row_factory.__name__, "kept": [tx.prepare_threshold, *handlers]}  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["committed", "raised"])
def test_the_next_file_meets_the_session_as_it_was_made(db: Database, how: str) -> None:
    names = ["look", *(name for what in LEAVE for name in (what, "look"))]
    ids = files(db, *names)
    shared_status, looks = SharedStatus(), []

    def processor(file: ClaimedFile) -> None:
        with file.completing() as tx:
            if file.name == "look":
                looks.append(look(tx))
                return
            action = LEAVE[file.name]
            if callable(action):
                action(tx)
            else:
                tx.execute(action)
            if how == "raised":
                raise ValueError("as told")

    with Database(dataclasses.replace(db.settings, max_failures=1), pooled=False, node=True) as own:
        assert Child(own, shared_status, boot(db), processor).run(drain=True) == 0
    snapshot = shared_status.read()
    shared_status.close()

    assert {status(db, id) for name, id in zip(names, ids, strict=True) if name == "look"} == {"completed"}
    for what, found in zip(LEAVE, looks[1:], strict=True):
        assert found == looks[0], what
    assert snapshot.completed == (len(ids) if how == "committed" else len(looks))


def test_a_session_that_is_left_clean_is_kept(db: Database) -> None:
    ids = files(db, *"abcd")
    pids = []

    def processor(file: ClaimedFile) -> None:
        with file.completing() as tx:
            pids.append(tx.info.backend_pid)
            tx.execute("SET LOCAL work_mem = '64kB'; CREATE TEMP TABLE t (a int) ON COMMIT DROP")

    shared_status = SharedStatus()
    with Database(db.settings, pooled=False, node=True) as own:
        Child(own, shared_status, boot(db), processor).run(drain=True)
    shared_status.close()

    assert len(set(pids)) == 1
    assert all(row(db, id)["processing_status"] == "completed" for id in ids)
    assert ask(db, "SELECT 1 AS one") == [{"one": 1}]
