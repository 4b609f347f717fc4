"""The pool: connections for readers with many threads, and an SQLAlchemy engine over them."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row, tuple_row

from opskit.database.error_translation import server_answers, translated, translation
from opskit.database.session import SessionConnection
from opskit.errors import MissingExtraError

if TYPE_CHECKING:
    import sqlalchemy
    from psycopg_pool import ConnectionPool

# What the pool logs is said by our own errors; without a handler it would be printed beside them.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
_SIZE = 8
_BUSY_SECONDS = 0.5
_PROBE_SECONDS = 3
_HABITS: dict[str, Any] = {"autocommit": True, "row_factory": dict_row}
# What a process has inherited from the one that forked it. Kept, because letting go of a pool ends its threads, which
# are not here, and its connections are the parent's.
_inherited: list[object] = []


class Pool:
    """A pool that is made when first needed, once, however many threads need it first together."""

    def __init__(
        self, parameters: Mapping[str, Any], configure: Callable[[SessionConnection], None], *, wait_seconds: float
    ) -> None:
        self._parameters = parameters
        self._configure = configure
        self._wait_seconds = wait_seconds
        self._making = threading.Lock()
        self._pool: ConnectionPool[SessionConnection] | None = None
        self._engine: sqlalchemy.Engine | None = None
        self._first: list[SessionConnection] = []  # the connection that the pool begins with, until it takes it

    def opened(self) -> ConnectionPool[SessionConnection]:
        """The pool itself; opened when first needed."""
        from psycopg_pool import ConnectionPool

        if self._pool is not None:
            return self._pool
        # A database that refuses us is told at once: the pool would try again and again for as long as it waits.
        os.environ["PGTZ"] = "UTC"
        first = self._first_session()
        with self._making:
            if self._pool is not None:
                first.close()  # another thread was faster
            else:
                self._first = [first]
                self._pool = ConnectionPool(
                    connection_class=_beginning_with(self._first),
                    kwargs={**_HABITS, **self._parameters},
                    configure=self._configure,
                    check=ConnectionPool.check_connection,
                    min_size=0,
                    max_size=_SIZE,
                    timeout=self._wait_seconds,
                    max_idle=60,
                    reconnect_timeout=5,
                    close_returns=True,
                    open=True,
                    name="opskit",
                )
            return self._pool

    def _first_session(self) -> SessionConnection:
        return SessionConnection.connect(**self._probe(), **_HABITS)

    def lent(self, stack: contextlib.ExitStack) -> SessionConnection:
        """A connection, until *stack* ends; its rows are dicts, whatever it was used for before.

        The pool has no `reset` of ours: with one its own thread would take connections back, and who asks again at
        once would find none and have a second one made, with all that a session has to learn.

        When none is to be had at once, the pool is busy or the database is away. A pool does not say which, and tries
        again ever more rarely; asked directly, a database that is away refuses in milliseconds, and the next use
        begins with a new pool.
        """
        from psycopg_pool import PoolTimeout

        pool = self.opened()
        try:
            return _as_ours(stack.enter_context(pool.connection(timeout=_BUSY_SECONDS)))
        except PoolTimeout:
            try:
                self._ask_directly()
            except psycopg.Error as error:
                # A server that answers with a refusal (too many connections, say) lives: what we have comes back.
                if not server_answers(self._probe(), error):
                    self._let_go(pool)
                    raise
        return _as_ours(stack.enter_context(pool.connection()))

    def _let_go(self, pool: ConnectionPool[SessionConnection]) -> None:
        with self._making:
            if self._pool is pool:
                self._pool = None
                self._close_first()
        pool.close(timeout=0.1)

    def _probe(self) -> dict[str, Any]:
        return {**self._parameters, "connect_timeout": _PROBE_SECONDS}

    def _ask_directly(self) -> None:
        psycopg.connect(**self._probe(), autocommit=True).close()

    def engine(self) -> sqlalchemy.Engine:
        """An SQLAlchemy engine over the same pool.

        Raises:
            MissingExtraError: SQLAlchemy is not installed.
        """
        try:
            from sqlalchemy import NullPool, create_engine, event
        except ImportError:
            raise MissingExtraError("SQLAlchemy", "ui") from None

        def lent() -> SessionConnection:
            with translated():
                connection = self.opened().getconn()
            connection.row_factory = tuple_row  # type: ignore[assignment]  # what SQLAlchemy reads; `lent` takes it back
            return connection

        with self._making:
            if self._engine is None:
                self._engine = create_engine(
                    "postgresql+psycopg://", creator=lent, poolclass=NullPool, isolation_level="AUTOCOMMIT"
                )
                event.listen(self._engine, "handle_error", _in_a_sentence)
            return self._engine

    def close(self) -> None:
        """Close every connection."""
        with self._making:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._close_first()

    def _close_first(self) -> None:
        with contextlib.suppress(IndexError):  # the pool has taken it, mostly
            self._first.pop().close()

    def forget(self) -> None:
        """Start without a pool in a forked process; the parent's is left alone."""
        _inherited.extend((self._pool, self._engine, self._first))
        self._making = threading.Lock()
        self._first = []
        self._pool = self._engine = None


def _beginning_with(first: list[SessionConnection]) -> type[SessionConnection]:
    """What a pool makes its connections with: the one that was made already, then others."""

    class Beginning(SessionConnection):
        @classmethod
        def connect(cls, *args: Any, **kwargs: Any) -> SessionConnection:  # type: ignore[override]  # one kind of rows
            try:
                return first.pop()
            except IndexError:
                return SessionConnection.connect(*args, **kwargs)

    return Beginning


def _in_a_sentence(context: sqlalchemy.engine.ExceptionContext) -> None:
    """Translate an error of a statement that ran through the engine."""
    if isinstance(context.original_exception, psycopg.Error):
        raise translation(context.original_exception) from context.original_exception


def _as_ours(connection: SessionConnection) -> SessionConnection:
    """Reset the row factory of a connection that may have been SQLAlchemy's."""
    connection.row_factory = dict_row
    return connection
