"""completing() of a replay: the processor's transaction, as on a node, which cannot be committed.

A unique constraint that is violated on purpose, and checked only at the end, makes PostgreSQL refuse every COMMIT of
the transaction. Whatever the processor begins after a ROLLBACK of its own is read-only, and so are the connections
that it makes for itself. The file's row is neither locked nor changed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from opskit.database import Database
from opskit.database.error_translation import translated
from opskit.database.session import begin
from opskit.errors import CompletionError
from opskit.queue.completing import Completing
from opskit.support.retry import Backoff

_GUARD = "opskit_replay_is_rolled_back"
# A breakpoint inside the block must not hold its locks for ever.
_LONGEST_REST_SECONDS = 300
_GUARDED = f"""
    CREATE TEMP TABLE opskit_replay (n int CONSTRAINT {_GUARD} UNIQUE DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO pg_temp.opskit_replay VALUES (1), (1)
"""
_BEGUN = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text AS transaction"
_SAME = "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text IS NOT DISTINCT FROM %s AS same"
# What a COMMIT would check now: the constraints that the processor's own tables have deferred.
_CHECK = "DELETE FROM pg_temp.opskit_replay; SET CONSTRAINTS ALL IMMEDIATE"
# A session remembers which sequences it has moved, after a ROLLBACK as well.
_SEQUENCES = """
    DO $$
    DECLARE one record; moved text[] := '{}';
    BEGIN
        FOR one IN SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class AS c
                     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'S' LOOP
            BEGIN
                PERFORM pg_catalog.currval(one.oid);
                moved := moved || pg_catalog.format('%I.%I', one.nspname, one.relname);
            EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege THEN
            END;
        END LOOP;
        PERFORM pg_catalog.set_config('opskit.moved', pg_catalog.array_to_string(moved, E'\\n'), false);
    END $$
"""


class Replaying(Completing):
    """The block of one replayed file.

    Attributes:
        sequences: Names of the sequences that the block has moved: a ROLLBACK does not move them back.
        escaped: Whether the processor has ended the transaction by itself.

    Args:
        db: A database with one connection of its own.
        id: The file.
    """

    def __init__(self, db: Database, id: str) -> None:
        super().__init__(db, id=id, token="")
        self.sequences: list[str] = []
        self.escaped = False

    def _fenced(self, backoff: Backoff) -> bool:
        settings = self._db.settings
        with contextlib.ExitStack() as stack, translated():
            self._connection = connection = stack.enter_context(self._db.lent())
            stack.callback(self._after)
            stack.callback(self._roll_back)
            if settings.read_only:
                begin(connection, b"BEGIN READ ONLY")
            else:
                if not self._db.pooler:
                    connection.execute(b"SET default_transaction_read_only = on", prepare=False)
                begin(connection, b"BEGIN READ WRITE")
                connection.execute(_GUARDED.encode(), prepare=False)
            rest = f"SET LOCAL idle_in_transaction_session_timeout = '{_LONGEST_REST_SECONDS}s'"
            connection.execute(rest.encode(), prepare=False)
            row = connection.execute(_BEGUN, prepare=False).fetchone()
            assert row is not None
            self._transaction = row["transaction"]
            self._stack = stack.pop_all()
        return True

    def _end(self) -> None:
        wrong = self._wrong()
        if wrong is None:
            if not self._is_the_same():
                self.escaped, wrong = True, "the processor ended the transaction of completing() and began another"
            elif not self._db.settings.read_only:
                self._connection.execute(_CHECK.encode(), prepare=False)
        if wrong is not None:
            raise CompletionError(f"file {self.id} is not completed: {wrong}; nothing is written")
        self.completed = True

    def _is_the_same(self) -> bool:
        row = self._connection.execute(_SAME, (self._transaction,), prepare=False).fetchone()
        return bool(row and row["same"])

    def _roll_back(self) -> None:
        if self._transaction and self._connection.pgconn.transaction_status == TransactionStatus.IDLE:
            self.escaped = True
        super()._roll_back()

    def _after(self) -> None:
        """Find out which sequences the session has moved; behind a pooler it may be another session."""
        if self._connection.pgconn.status != ConnStatus.OK or self._db.pooler:
            return
        with contextlib.suppress(psycopg.Error):
            self._connection.execute(_SEQUENCES.encode(), prepare=False)
            row = self._connection.execute("SHOW opskit.moved", prepare=False).fetchone()
            self.sequences = [name for name in (row or {"opskit.moved": ""})["opskit.moved"].split("\n") if name]


def is_guard(error: BaseException) -> bool:
    """Whether an error is the refusal of a COMMIT that a replay provokes."""
    return isinstance(error, psycopg.errors.UniqueViolation) and error.diag.constraint_name == _GUARD


@contextlib.contextmanager
def connections_only_read() -> Iterator[list[str]]:
    """Meanwhile the connections that this thread makes with psycopg are read-only; gives where they lead.

    Behind a pooler nothing may be set in a session, and they are only named.
    """
    thread, made = threading.get_ident(), list[str]()
    base: Any = psycopg.Connection.__mro__[1]
    original = base.__init__

    def noted(self: Any, pgconn: Any, *args: Any, **more: Any) -> None:
        original(self, pgconn, *args, **more)
        if threading.get_ident() == thread:
            ours = pgconn.exec_(b"SELECT pg_catalog.pg_backend_pid()")
            direct = ours.status == ExecStatus.TUPLES_OK and int(ours.get_value(0, 0) or 0) == pgconn.backend_pid
            if direct:
                pgconn.exec_(b"SET default_transaction_read_only = on")
            host, name = (text.decode(errors="replace") for text in (pgconn.host, pgconn.db))
            made.append(f"{host}/{name}" + ("" if direct else ", which writes: a pooler stands between"))

    base.__init__ = noted
    try:
        yield made
    finally:
        base.__init__ = original
