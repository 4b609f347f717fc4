"""completing(): one transaction for what a processor writes and for its file's completion.

Whether it was committed is asked of the server: the state of the transaction before its end, whether it is still the
one that completed the file, and the tag that answers COMMIT. PostgreSQL answers the COMMIT of an aborted transaction
with ROLLBACK, and no error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import psycopg
from psycopg import generators, sql
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus

from opskit.database import Database
from opskit.database.error_translation import translated
from opskit.database.node_connection import NodeConnection
from opskit.database.session import Connection, begin
from opskit.errors import ClaimLostError, CompletionError, DatabaseError, DatabaseUnavailableError
from opskit.queue.stored import as_json
from opskit.support.retry import Backoff

log = logging.getLogger("opskit")
_SOON_SECONDS = 0.1  # a transaction shorter than that ends when it begins, as far as its file's times tell
_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
_DIVISION_BY_ZERO = "22012"
# One message: the check costs no round trip, and when it fails there is no COMMIT. It asks for the transaction and
# not for the row: the processor may have taken another role or search_path for the rest of its transaction.
_COMMIT = "SELECT 1 / (pg_catalog.pg_current_xact_id_if_assigned()::text IS NOT DISTINCT FROM '{}')::int; COMMIT"
_PREPARED = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE transaction = %s::xid8::xid"


class Completing:
    """The transaction of one file, as a context manager that gives its connection.

    The caller's own statements raise the driver's errors, untranslated.

    Attributes:
        id, token: The file and its claim's token.
        completed: Whether the file's completion is committed.
        is_open: Whether the transaction is open.
        thread: The thread that has opened it.

    Args:
        db: An open database.
        id, token: The file and its claim's token: the fence.
        result: Stored with the row, as JSON.
        patience_seconds: How long to try again when the database is away or an earlier try is in flight [s].
        on_completed: Called as soon as the completion is committed.

    Raises:
        ClaimLostError: The claim is no longer this token's; nothing is written.
        CompletionError: The transaction was not committed, or did not hold the completion at its end.
        DatabaseUnavailableError: No transaction could be begun within the patience, or its COMMIT got lost.

    SQL: sql/complete.sql, sql/ended_now.sql
    """

    def __init__(
        self,
        db: Database,
        *,
        id: str,
        token: str,
        result: Mapping[str, Any] | None = None,
        patience_seconds: float = 30.0,
        on_completed: Callable[[], None] = lambda: None,
    ) -> None:
        self.completed = self.is_open = False
        self.thread: int | None = None
        self._db, self.id, self.token, self._result = db, id, token, result
        self._patience_seconds = patience_seconds
        self._on_completed = on_completed
        self._began = 0.0
        self._transaction = ""
        self._cut_off = False
        self._process = os.getpid()
        self._restored = False
        self._stack = contextlib.ExitStack()
        self._connection: Connection

    # -- the beginning -----------------------------------------------------------------------

    def __enter__(self) -> Connection:
        """Open the transaction and complete the file in it; the rest is the caller's.

        The connection may have died unnoticed while the processor worked: then another is taken.
        """
        backoff = Backoff(0.05, 2.0, self._patience_seconds)
        while not self._fenced(backoff):
            backoff.wait()
        self.is_open, self.thread, self._began = True, threading.get_ident(), time.monotonic()
        return self._connection

    def _fenced(self, backoff: Backoff) -> bool:
        """Whether a transaction is open that has completed the file; False: try again."""
        stack = contextlib.ExitStack()
        try:
            with translated():
                self._connection = connection = stack.enter_context(self._db.lent())
                if connection.pgconn.transaction_status in (TransactionStatus.ACTIVE, *_IN_TRANSACTION):
                    stack.pop_all()  # the transaction belongs to another block
                    raise CompletionError(f"completing() is open already for another block; file {self.id}")
                stack.callback(self._roll_back)
                begin(connection)
                values = {"id": self.id, "token": self.token, "result": as_json(self._result)}
                (row,) = self._db.run_on(connection, "complete", **values)
            if row["answer"] == "done":
                self._transaction, self._stack = row["transaction"], stack.pop_all()
                return True
            if row["answer"] == "already":
                raise CompletionError(
                    f"file {self.id} is completed already: completing() is for one block a file; "
                    "nothing more was written"
                )
            if row["answer"] == "lost":
                raise ClaimLostError(f"the claim of file {self.id} is lost; nothing was written")
            if backoff.is_over:
                raise DatabaseUnavailableError(f"file {self.id} is locked by another transaction; nothing was written")
        except DatabaseUnavailableError:
            if backoff.is_over:
                raise
        finally:
            stack.close()
        return False

    # -- the end -----------------------------------------------------------------------------

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or roll back when an error has left the block."""
        if self._process != os.getpid():
            raise CompletionError(f"file {self.id} is completed by the process that claimed it, not by a fork of it")
        if not self.is_open:
            if self._cut_off:
                self._connection.close()
            raise CompletionError(f"completing() of file {self.id} has ended before; nothing more was written")
        try:
            if error is None:
                self._end()
        finally:
            self.is_open = False
            self._stack.close()
            self._clean()

    def _clean(self) -> None:
        """Leave nothing of the processor's in the session: restored, or its connection is given up."""
        connection = self._connection
        if not isinstance(connection, NodeConnection) or not connection.restoring or connection.closed:
            return
        if not self._restored:
            with contextlib.suppress(psycopg.Error), connection.used_by_us():
                connection.pgconn.send_query(connection.restoring)
                results = connection.wait(generators.execute(connection.pgconn))
                self._restored = results[-1].status == ExecStatus.TUPLES_OK
        if not self._restored or not connection.is_as_lent():
            self._db.drop_connection()

    def abandon(self) -> None:
        """Roll back a block that its processor has left open."""
        self.is_open = False
        if self.thread != threading.get_ident():
            # Its thread may be waiting on the connection at this moment: the socket is shut down under it.
            self._cut_off = True
            self._db.give_up()
            self._stack.pop_all()
        self._stack.close()
        if not self._cut_off:
            self._clean()

    def _end(self) -> None:
        """Commit, and find out whether the completion is committed.

        Raises:
            CompletionError: It is not; or it is, and what the processor wrote after a COMMIT of its own is not.
            DatabaseUnavailableError: It is not, because the connection was lost.
        """
        wrong = self._wrong()
        if wrong is None:
            self._note_the_end()
            wrong = self._commit()
        if wrong is not None:
            over, lost = self._is_over(), self._connection.broken
            self._roll_back()
            if over:
                self._undo_prepared()
            if not completed_by(self._db, id=self.id, token=self.token, patience_seconds=self._patience_seconds):
                told = f"file {self.id} is not completed: {wrong}; nothing is written"
                raise DatabaseUnavailableError(told) if lost else CompletionError(told)
            log.warning("file %s is completed, although %s", self.id, wrong)
            if not over:
                self._settle()
                raise CompletionError(
                    f"file {self.id} is completed with what was written before the processor's own COMMIT; "
                    f"what came after it is rolled back, because {wrong}"
                )
        self._settle()

    def _settle(self) -> None:
        self.completed = True
        self._on_completed()

    def _is_over(self) -> bool:
        """Whether no transaction is open that could be rolled back."""
        pgconn = self._connection.pgconn
        return pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    def _wrong(self) -> str | None:
        """The reason why this transaction must not commit; None when there is none."""
        pgconn = self._connection.pgconn
        status = pgconn.transaction_status
        if pgconn.status != ConnStatus.OK:
            return "its connection was closed or lost within completing()"
        if pgconn.pipeline_status != PipelineStatus.OFF:
            return "a pipeline was left open within completing()"
        if status == TransactionStatus.ACTIVE:
            return "a COPY or another statement was left unfinished within completing()"
        if status == TransactionStatus.INERROR:
            error = getattr(self._connection, "last_error", "")
            said = f" ({error})" if error else ""
            return (
                f"a statement within completing() failed and its error was not raised{said}, so PostgreSQL aborts the "
                "transaction; use tx.transaction() around what may fail"
            )
        if status != TransactionStatus.INTRANS:
            return "the processor ended the transaction of completing() by itself"
        return None

    def _note_the_end(self) -> None:
        """Write down when a long transaction ended; the role that the processor has taken may not be allowed to."""
        if time.monotonic() - self._began <= _SOON_SECONDS:
            return
        connection = self._connection
        refused = contextlib.suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)
        with refused, connection.transaction():
            self._db.run_on(connection, "ended_now", id=self.id, token=self.token)

    def _commit(self) -> str | None:
        """Commit; returns the problem, or None when the server confirms the commit.

        Raises:
            psycopg.Error: PostgreSQL refuses: a deferred constraint, say.
            DatabaseUnavailableError: No answer, and the row cannot be asked or is not completed.
        """
        pgconn = self._connection.pgconn
        try:
            # The session is restored in the same message, and costs no round trip of its own.
            restoring: bytes = getattr(self._connection, "restoring", b"")
            text = _COMMIT.format(self._transaction).encode()
            pgconn.send_query(b"; ".join([text, restoring]) if restoring else text)
            results = self._connection.wait(generators.execute(pgconn))
        except psycopg.OperationalError as error:
            self._unanswered(error)
            return None
        if len(results) > 2:
            self._restored = results[-1].status == ExecStatus.TUPLES_OK
        last = results[:2][-1]
        if last.status == ExecStatus.FATAL_ERROR:
            refusal = psycopg.errors.error_from_result(last)
            if pgconn.status != ConnStatus.OK:
                self._unanswered(refusal)
                return None
            if last is results[0] and refusal.sqlstate == _DIVISION_BY_ZERO:
                return "the processor ended the transaction of completing() and began another"
            raise refusal
        tag = (last.command_status or b"").decode()
        return None if tag == "COMMIT" else f"PostgreSQL answered its COMMIT with {tag}"

    def _unanswered(self, error: psycopg.Error) -> None:
        """The COMMIT got no answer. Perhaps it is committed: the file's row tells."""
        if not completed_by(self._db, id=self.id, token=self.token, patience_seconds=self._patience_seconds):
            with translated():
                raise error

    def _roll_back(self) -> None:
        """Roll back; closes a connection that cannot roll back, which ends its transaction, too."""
        pgconn = self._connection.pgconn
        with contextlib.suppress(psycopg.Error):
            if pgconn.transaction_status in _IN_TRANSACTION and pgconn.pipeline_status == PipelineStatus.OFF:
                self._connection.execute(b"ROLLBACK", prepare=False)
        if pgconn.transaction_status != TransactionStatus.IDLE or pgconn.pipeline_status != PipelineStatus.OFF:
            pgconn.finish()

    def _undo_prepared(self) -> None:
        """Roll back a prepared transaction (PREPARE TRANSACTION), which would lock the file's row for ever."""
        with contextlib.suppress(DatabaseError), self._db.connection() as connection:
            for row in connection.execute(_PREPARED, (self._transaction,)).fetchall():
                connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(row["gid"])))


def completed_by(db: Database, *, id: str, token: str, patience_seconds: float = 30.0) -> bool:
    """Whether a file is completed under a token: asked until the database says.

    Raises:
        DatabaseUnavailableError: No answer within the patience.

    SQL: sql/complete.sql
    """
    backoff = Backoff(0.05, 2.0, patience_seconds)
    while True:
        try:
            with db.connection() as connection, connection.transaction(force_rollback=True):
                (row,) = db.run_on(connection, "complete", id=id, token=token, result="null")
                # "done" is rolled back again: it only proves that an earlier try is not committed.
                if row["answer"] != "again":
                    return bool(row["answer"] == "already")
                error = DatabaseUnavailableError(f"file {id} is locked by another transaction")
        except DatabaseUnavailableError as unavailable:
            error = unavailable
        if backoff.is_over:
            raise error
        backoff.wait()
