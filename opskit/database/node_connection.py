"""A node's connection: it gives up on a silent server, and runs the statements of the hot path directly.

Keepalives and TCP timeouts find a cut cable. They do not find a proxy, a pooler or a firewall that still
says yes and delivers nothing: then a claim or a COMMIT would wait for hours, under a living supervisor.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from opskit.database.session import Connection as Connection
from opskit.database.session import SessionConnection


class NodeConnection(SessionConnection):
    """One connection of one process. After a silence it asks, over a second one, whether the backend still works."""

    silence_seconds: float = float("inf")
    at_work: Callable[[], bool] | None = None
    # A processor may keep the connection that completing() has lent it. A guarded one refuses it afterwards: what is
    # begun there would swallow the node's own claims and completions.
    guarded: bool = False
    # What brings the session back to what it was when it was made; empty where nothing of a session is ours (a pooler).
    restoring: bytes = b""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_error = ""
        self._columns: dict[bytes, list[str]] = {}
        self._habits: tuple[object, ...] = ()
        self._user: int | None = None
        self._lent = False

    @contextlib.contextmanager
    def used_by_us(self) -> Iterator[None]:
        """Lend the connection to this thread of the node."""
        before, self._user = self._user, threading.get_ident()
        try:
            yield
        finally:
            self._user = before

    @contextlib.contextmanager
    def used_by_all(self) -> Iterator[None]:
        """Lend the connection to a processor, whose threads may use it."""
        self._lent, self.last_error, self._habits = True, "", self.habits
        try:
            yield
        finally:
            self._lent = False

    def is_as_lent(self) -> bool:
        """Whether what the driver keeps is as it was when the connection was lent."""
        return self.habits == self._habits

    @property
    def usable(self) -> bool:
        """Whether the connection is open, and idle unless somebody uses it."""
        if self.pgconn.status != ConnStatus.OK:
            return False
        at_rest = self.pgconn.transaction_status == TransactionStatus.IDLE
        return at_rest or self._lent or self._user is not None or not self.guarded

    @property
    def habits(self) -> tuple[object, ...]:
        """What the driver keeps for a connection and a processor may change."""
        return (
            self.autocommit, self.row_factory, self.cursor_factory, self.server_cursor_factory, self.prepare_threshold,
            self.prepared_max, self.isolation_level, self.read_only, self.deferrable, self._num_transactions,
            len(self._notify_handlers), len(self._notice_handlers),
        )  # fmt: skip

    def commit(self) -> None:
        """As the driver does; a processor's transaction ends with its block."""
        self._refuse_within_block("commit")
        super().commit()

    def rollback(self) -> None:
        """As the driver does; a processor's transaction ends with its block."""
        self._refuse_within_block("rollback")
        super().rollback()

    def _refuse_within_block(self, what: str) -> None:
        if self._lent and self._user is None:
            raise psycopg.ProgrammingError(
                f"{what}() is not for a processor: completing() ends the transaction where its block ends"
            )

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait for the driver's own statements, with an ear on the silence."""
        if self.guarded and not self._lent and self._user != threading.get_ident():
            gen.close()
            raise psycopg.ProgrammingError("this connection was lent for the block of completing(), which has ended")
        try:
            return super().wait(self._watched(gen), *args, **kwargs)
        except psycopg.Error as error:
            self.last_error = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise

    def ask(
        self, name: bytes, text: bytes, values: Sequence[bytes], binary: Sequence[bool], *, prepare: bool
    ) -> dict[str, str | None]:
        """Ask a statement over libpq itself: half of what the driver's cursor costs.

        Args:
            name: Under which it is prepared, the first time that this connection asks it.
            text: The statement, with $1, $2, … for its values.
            values: As text, or as PostgreSQL's binary.
            binary: Which of them are binary.
            prepare: False behind a pooler, where nothing may live in a session.

        Returns:
            The first row, its values as the server's text; empty when there is none.

        Raises:
            psycopg.Error: As the driver's cursor would.
        """
        if not prepare:
            self.pgconn.send_query_params(text, values, param_formats=binary)
        else:
            if name not in self._columns:
                self.pgconn.send_prepare(name, text)
                self._answer()
                self._columns[name] = []
            self.pgconn.send_query_prepared(name, values, param_formats=binary)
        try:
            answer = self._answer()
        except psycopg.errors.InvalidSqlStatementName:
            # A processor has deallocated it; what is not known was not executed.
            del self._columns[name]
            return self.ask(name, text, values, binary, prepare=prepare)
        if not answer.ntuples:
            return {}
        columns = self._columns.get(name)
        if not columns:
            columns = [(answer.fname(n) or b"").decode() for n in range(answer.nfields)]
            if prepare:
                self._columns[name] = columns
        row = [answer.get_value(0, n) for n in range(len(columns))]
        return {
            column: None if value is None else value.decode("utf-8", "surrogateescape")
            for column, value in zip(columns, row, strict=True)
        }

    def _answer(self) -> PGresult:
        """The result of what was sent."""
        pgconn, poll = self.pgconn, select.poll()
        while pgconn.flush():
            self._hear(poll, select.POLLIN | select.POLLOUT)
            pgconn.consume_input()
        while pgconn.is_busy():
            self._hear(poll, select.POLLIN)
            pgconn.consume_input()
        answer = pgconn.get_result()
        while pgconn.get_result():
            pass
        if answer is None:
            raise psycopg.OperationalError("no answer: the connection is closed")
        if answer.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise psycopg.errors.error_from_result(answer)
        return answer

    def _hear(self, poll: select.poll, what: int) -> None:
        """Wait until something can be read, or sent."""
        poll.register(self.pgconn.socket, what)
        limit = None if self.silence_seconds == float("inf") else self.silence_seconds * 1000
        while not poll.poll(limit):
            self._doubt()

    def _watched(self, gen: PQGen[RV]) -> PQGen[RV]:
        heard = time.monotonic()
        try:
            waits_for = next(gen)
            while True:
                ready = yield waits_for
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > self.silence_seconds:
                    self._doubt()
                    heard = time.monotonic()
                waits_for = gen.send(ready)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # StopIteration is not generic

    def _doubt(self) -> None:
        """Slow work, a lock or a standby that is waited for: the server says so over another connection."""
        if self.at_work is None or not self.at_work():
            self.close()
            raise psycopg.OperationalError(f"no answer for {self.silence_seconds:g} s")
