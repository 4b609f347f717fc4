"""The connections of a process: a pool for readers with many threads, or one of its own for a node.

Nothing here lives in a session, so that PgBouncer in transaction mode may stand between; the zone is a
startup parameter (PGTZ), which PgBouncer tracks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.rows import dict_row

from opskit.database import database_url
from opskit.database.error_translation import server_answers, translated
from opskit.database.names import names
from opskit.database.node_connection import NodeConnection
from opskit.database.pool import Pool
from opskit.database.session import Connection, SessionConnection, settle
from opskit.errors import ConnectionClosedError
from opskit.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy

# A black hole (a cut cable, a vanished host) must not hold a process for the kernel's two hours.
_NETWORK: dict[str, Any] = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# What DISCARD ALL does, but for the statements that we have prepared and the channel that we listen to: a connection
# with others' is given up.
_RESTORING = (
    b"CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all(); "
    b"DISCARD TEMP; DISCARD SEQUENCES"
)
_FOREIGN = (
    "SELECT 1 / ((SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql) = 0 "
    "AND NOT EXISTS (SELECT FROM pg_catalog.pg_listening_channels() AS channel WHERE channel <> '{}'))::int"
)
_WAIT_FOR_CONNECTION = 10.0
# Where the server tells nobody's state (track_activities = off), what it waits for still says whether it is at work.
_AT_WORK = """
    SELECT CASE WHEN state IN ('active', 'disabled') AND wait_event_type IS DISTINCT FROM 'Client' THEN true
                ELSE pg_terminate_backend(pid) IS NULL END AS at_work
      FROM pg_stat_activity WHERE pid = %s AND backend_start = %s::timestamptz
"""


class Connections:
    """The connections of a process to one database; `Database` runs statements over them.

    Args:
        url: Where it is, as libpq takes it.
        settings: Which environment's tables are meant, and how long a lease is.
        pooled: Many threads share a pool; False: one connection, made when first needed.
        statement_seconds: Longest time a statement may take [s]; None for no limit.
        node: The connection is a node's: its plans are kept to the queue's indexes.
        name: Whose sessions these are.

    Attributes:
        pooler: Whether a pooler in transaction mode stands between, once there is a connection.
        encoding: The database's encoding, once there is a connection.
    """

    def __init__(
        self, url: str, settings: Settings, *, pooled: bool, statement_seconds: float | None, node: bool, name: str
    ) -> None:
        self.settings = settings
        self.names = names(settings)
        self.pooler = False
        self.encoding: str | None = None
        self._pooled = pooled
        self._node = node
        self._statement_seconds = statement_seconds
        self._own: NodeConnection | None = None
        self._foreign: NodeConnection | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._silence_seconds = max(1.0, min(5.0, settings.lease_seconds / 6))
        network = _NETWORK if pooled else _NETWORK | {"connect_timeout": str(max(2, round(self._silence_seconds)))}
        # The encoding is ours whatever the URL says: the texts that we send and read are UTF-8.
        self._parameters = network | database_url.parsed(url) | {"client_encoding": "UTF8"}
        self._parameters.setdefault("application_name", f"opskit {settings.env} {name}".strip()[:63])
        wait_seconds = _WAIT_FOR_CONNECTION if statement_seconds is None else min(3.0, statement_seconds)
        self._pool = Pool(self._parameters, self._configure, wait_seconds=wait_seconds)
        _opened.add(self)

    @contextlib.contextmanager
    def connection(self, *, translate: bool = True) -> Iterator[Connection]:
        """A connection in autocommit, for one statement or one `with connection.transaction()`.

        Args:
            translate: Turn the driver's errors into opskit's; False where a user's own statements run.

        Raises:
            DatabaseUnavailableError: None could be had in time, or it broke.
        """
        with translated() if translate else contextlib.nullcontext():
            self._check_open()
            if self._pooled:
                with contextlib.ExitStack() as stack:
                    yield self._pool.lent(stack)
            else:
                with self._lock:
                    own = self._mine()
                    with own.used_by_us():
                        yield own

    @contextlib.contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection for a processor's block of statements; its errors stay the driver's.

        One of its own is not locked meanwhile: a block that another thread has left open must not hold up the node.
        """
        if self._pooled:
            with self.connection(translate=False) as connection:
                yield connection
        else:
            self._check_open()
            with self._lock:
                own = self._mine()
            with own.used_by_all():
                yield own

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosedError

    def _mine(self) -> NodeConnection:
        if self._own is None or not self._own.usable:
            self.drop_connection()
            self._own = self._connect()
        return self._own

    @property
    def broken(self) -> bool:
        """Whether the own connection is broken and not yet replaced."""
        return self._own is not None and (self._own.broken or self._own.closed)

    def drop_connection(self) -> None:
        """Close the own connection, whatever its state; the next use makes a new one."""
        own, self._own = self._own, None
        if own is not None:
            with contextlib.suppress(psycopg.Error):
                own.close()

    def disarm(self) -> None:
        """In a forked process, detach the own connection, which is the parent's; the next use makes another.

        Its descriptor leads to nowhere: closed, its number would be given to another file, which libpq would write to.
        """
        own, self._own, self._lock = self._own, None, threading.RLock()
        if own is not None and not own.closed:
            self._foreign = own
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, own.fileno(), inheritable=False)
            os.close(nowhere)

    @property
    def own(self) -> NodeConnection | None:
        """The own connection; None while there is none."""
        return self._own

    def disown(self) -> None:
        """Forget the own connection: its descriptor was closed, and may be another file's by now."""
        self._foreign, self._own = self._own, None

    def give_up(self) -> None:
        """Shut down the own connection's socket while another thread may be using it."""
        self._shut_down()
        self._own = None

    def _connect(self) -> NodeConnection:
        os.environ["PGTZ"] = "UTC"
        connection = NodeConnection.connect(
            autocommit=True, row_factory=dict_row, prepare_threshold=2, **self._parameters
        )
        connection.silence_seconds = self._silence_seconds
        self._configure(connection)
        # Only a node's child: a supervisor has deadlines, and behind a pooler nobody can be asked.
        connection.silence_seconds = self._silence_seconds if self._node and not self.pooler else float("inf")
        if self._node and not self.pooler:
            row = connection.execute(
                "SELECT backend_start::text AS began FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            ).fetchone()
            began, pid = row["began"] if row else None, connection.info.backend_pid
            connection.at_work = lambda: self._at_work(pid, began)
        connection.guarded = self._node
        return connection

    def _at_work(self, pid: int, began: str | None) -> bool:
        """Whether a backend that is silent still works on what it was asked.

        One that itself waits for us in vain is ended, so that it does not go on holding a row's lock.
        """
        try:
            with NodeConnection.connect(autocommit=True, row_factory=dict_row, **self._parameters) as other:
                other.silence_seconds = self._silence_seconds
                row = other.execute(_AT_WORK, (pid, began)).fetchone()
        except psycopg.Error as error:
            # A server that answers with a refusal (too many connections, say) lives: no reason to give up.
            return server_answers(self._parameters, error)
        return bool(row and row["at_work"])

    def _configure(self, connection: SessionConnection) -> None:
        """Apply the settings of a new session, and detect a pooler."""
        self.encoding = connection.info.parameter_status("server_encoding")
        self.pooler = settle(
            connection,
            node=self._node,
            read_only=self.settings.read_only,
            statement_seconds=self._statement_seconds,
        )
        if self._node and not self.pooler and isinstance(connection, NodeConnection):
            foreign = _FOREIGN.replace("{}", self.names["channel"].replace("'", "''"))
            connection.restoring = b"; ".join([_RESTORING, *connection.kept, foreign.encode()])

    @property
    def engine(self) -> sqlalchemy.Engine:
        """An SQLAlchemy engine over the pool, for `pandas.read_sql` and the like; its errors are opskit's.

        Raises:
            MissingExtraError: SQLAlchemy is not installed.
        """
        self._check_open()
        return self._pool.engine()

    def close(self) -> None:
        """Close every connection, for good."""
        with self._lock:
            self._closed = True
            self.drop_connection()
        self._pool.close()

    def _forget(self) -> None:
        """Start without connections in a forked process; those of its parent are left alone."""
        self.disarm()
        self._pool.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Give up on a statement of this connection after *seconds*: the answer to a black hole.

        The client shuts the socket down, because a server that is frozen or cut off cannot be asked to cancel.
        """
        timer = threading.Timer(seconds, self._shut_down)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _shut_down(self) -> None:
        own = self._own
        with contextlib.suppress(OSError, psycopg.Error):
            if own is not None and not own.closed:
                with socket.socket(fileno=os.dup(own.fileno())) as copy:
                    copy.shutdown(socket.SHUT_RDWR)


_opened: weakref.WeakSet[Connections] = weakref.WeakSet()


def _after_fork() -> None:
    for connections in list(_opened):
        connections._forget()


os.register_at_fork(after_in_child=_after_fork)
