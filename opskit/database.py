"""The database: connections, the statements of `sql/`, and errors in one sentence.

One `Database` serves everything a process does. It is pooled, for readers with many threads, or it is
one connection of its own, for a node. Values travel as text, as psql sends them: a statement behaves
the same through every door.

Nothing here lives in a session, so that PgBouncer in transaction mode may stand between; the zone is a
startup parameter (PGTZ), which PgBouncer tracks.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row

from opskit import display, queries
from opskit.connection import Connection as Connection
from opskit.connection import OwnConnection
from opskit.connection import Row as Row
from opskit.errors import DatabaseError, DatabaseUnavailableError, MissingExtraError, NotMigratedError, SettingError
from opskit.kept import Kept
from opskit.logs import masked
from opskit.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy
    from psycopg_pool import ConnectionPool

# What the pool logs is said by our own errors; without a handler it would be printed beside them.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())

# A black hole (a cut cable, a vanished host) must not hold a process for the kernel's two hours.
_NETWORK: dict[str, Any] = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# The same from the server's side: a row that a vanished host has locked is free after 11 s, not two hours.
_NODE_NETWORK = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 10000"
)
_SHOWN_SECONDS = 2.0  # how long a notebook waits for the numbers of an open database
# A backend at work on a statement learns within a second that its client has died, and gives its locks back. Not every
# server's system can tell.
_NODE_VIGILANCE = b"SET client_connection_check_interval = 1000"
# The queue has one right plan: its index. These keep the planner to it whatever its statistics say
# (never analyzed; analyzed empty, then a million rows).
_NODE_PLANS = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan"
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
_GONE = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.TooManyConnections, pg.DatabaseDropped)
_WAIT_FOR_CONNECTION = 10.0
_POOL_SIZE = 8
_BUSY_SECONDS = 0.5
_PROBE_SECONDS = 3
_AT_WORK = """
    SELECT CASE WHEN state = 'active' AND wait_event_type IS DISTINCT FROM 'Client' THEN true
                ELSE pg_terminate_backend(pid) IS NULL END AS at_work
      FROM pg_stat_activity WHERE pid = %s AND backend_start = %s::timestamptz
"""


def names(settings: Settings) -> dict[str, str]:
    """The names of one environment's tables and of what hangs on them (psql: sql/_names.sql)."""
    prefix, files = settings.prefix, settings.files
    beside = {name: f"{prefix}processing_{name}" for name in ("nodes", "events", "pauses")}
    hanging = {
        "queue_index": "queue",
        "held_index": "held",
        "ended_index": "ended",
        "failed_index": "fails",
        "alike_index": "alike",
        "waiting_index": "waits",
        "state_check": "state",
        "fence_check": "fence",
        "guard": "guard",
        "guard_new": "new",
        "wake": "wake",
    }
    return {
        "files": files,
        "channel": f"opskit_{files}",
        **beside,
        **{name: f"{files}_processing_{suffix}" for name, suffix in hanging.items()},
        "events_by_file": f"{prefix}processing_events_by_file",
        "events_by_time": f"{prefix}processing_events_by_time",
        "events_by_kind": f"{prefix}processing_events_by_kind",
        "events_by_node": f"{prefix}processing_events_by_node",
        # Where indexes of an older version wait until their successors are built; no longer than the names above.
        **{f"old_{key}": f"{files}_superseded_{suffix}" for key, suffix in hanging.items() if key.endswith("_index")},
        "old_events_by_file": f"{prefix}superseded_events_by_file",
        "old_events_by_time": f"{prefix}superseded_events_by_time",
        "old_events_by_kind": f"{prefix}superseded_events_by_kind",
        "old_events_by_node": f"{prefix}superseded_events_by_node",
    }


class Database:
    """An open database: `db = opskit.connect()`, or `with Database(settings) as db`.

    Args:
        settings: Where it is and which environment's tables are meant.
        pooled: Many threads share a pool; False: one connection, made when first needed.
        statement_seconds: Longest time a statement may take [s]. Defaults to no limit.
        node: The connection is a node's: its plans are kept to the queue's indexes.
        name: Whose sessions these are, as pg_stat_activity shows it; at most 63 bytes of it are kept.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pooled: bool = True,
        statement_seconds: float | None = None,
        node: bool = False,
        name: str = "",
    ) -> None:
        if settings.database_url is None:
            from opskit import embedded

            settings = _with_url(settings, embedded.start(settings))
        assert settings.database_url is not None
        self.settings = settings
        self.names = names(settings)
        self.pooler = False
        self.kept = Kept()
        self._pooled = pooled
        self._node = node
        self._statement_seconds = statement_seconds
        self._texts: dict[str, tuple[queries.Statement, bytes]] = {}
        self._asked: dict[str, tuple[queries.Statement, bytes, dict[str, bool]]] = {}
        self._own: OwnConnection | None = None
        self._foreign: OwnConnection | None = None
        self._lock = threading.RLock()
        self._silence_seconds = max(1.0, min(5.0, settings.lease_seconds / 6))
        network = _NETWORK if pooled else _NETWORK | {"connect_timeout": str(max(2, round(self._silence_seconds)))}
        self._parameters = network | _parsed(settings.database_url)
        self._parameters.setdefault("application_name", f"opskit {settings.env} {name}".strip()[:63])

    # -- connections -------------------------------------------------------------------------

    @contextlib.contextmanager
    def connection(self, *, translate: bool = True) -> Iterator[Connection]:
        """A connection in autocommit, for one statement or one `with connection.transaction()`.

        Args:
            translate: Turn the driver's errors into opskit's; False where a user's own statements run.

        Raises:
            DatabaseUnavailableError: None could be had in time, or it broke.
        """
        with translated() if translate else contextlib.nullcontext():
            if self._pooled:
                with contextlib.ExitStack() as stack:
                    yield self._lent(stack)
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
            with self._lock:
                own = self._mine()
            with own.used_by_all():
                yield own

    def _lent(self, stack: contextlib.ExitStack) -> Connection:
        """A connection of the pool. One that is not to be had at once: the pool is busy, or the database is away.

        A pool does not say which, and tries again ever more rarely; asked directly, a database that is away refuses
        in milliseconds, and the next use begins with a new pool.
        """
        from psycopg_pool import PoolTimeout

        try:
            return stack.enter_context(self.pool.connection(timeout=_BUSY_SECONDS))
        except PoolTimeout:
            pool = self.pool
            try:
                self._ask_directly()
            except psycopg.Error as error:
                # A server that answers with a refusal (too many connections, say) lives: what we have comes back.
                if "FATAL" not in str(error):
                    if self.__dict__.get("pool") is pool:
                        del self.pool
                        pool.close(timeout=0.1)
                    raise
        return stack.enter_context(self.pool.connection())

    def _ask_directly(self) -> None:
        psycopg.connect(**{**self._parameters, "connect_timeout": _PROBE_SECONDS}, autocommit=True).close()

    def _mine(self) -> OwnConnection:
        if self._own is None or not self._own.usable:
            self.drop_connection()
            self._own = self._connect()
        return self._own

    @property
    def broken(self) -> bool:
        """Whether the connection of its own has broken, and nothing was asked since."""
        return self._own is not None and (self._own.broken or self._own.closed)

    def drop_connection(self) -> None:
        """Give up the connection of its own, whatever its state; the next use makes a new one."""
        own, self._own = self._own, None
        if own is not None:
            with contextlib.suppress(psycopg.Error):
                own.close()

    def disarm(self) -> None:
        """In a forked copy: let go of the connection of its own, which is its original's; the next use makes another.

        Its descriptor leads to nowhere: closed, its number would be given to another file, which libpq would write to.
        """
        own, self._own, self._lock = self._own, None, threading.RLock()
        if own is not None and not own.closed:
            self._foreign = own
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, own.fileno(), inheritable=False)
            os.close(nowhere)

    @property
    def own(self) -> OwnConnection | None:
        """The connection of its own, as it is; None while there is none."""
        return self._own

    def disown(self) -> None:
        """Forget the connection of its own: its descriptor was closed, and may be another file's by now."""
        self._foreign, self._own = self._own, None

    def give_up(self) -> None:
        """Give up the connection of its own while another thread may be using it: its socket is shut down."""
        self._shut_down()
        self._own = None

    def _connect(self) -> OwnConnection:
        os.environ["PGTZ"] = "UTC"
        connection = OwnConnection.connect(
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
            with OwnConnection.connect(autocommit=True, row_factory=dict_row, **self._parameters) as other:
                other.silence_seconds = self._silence_seconds
                row = other.execute(_AT_WORK, (pid, began)).fetchone()
        except psycopg.Error as error:
            # A server that answers with a refusal (too many connections, say) lives: no reason to give up.
            return "FATAL" in str(error)
        return bool(row and row["at_work"])

    def _configure(self, connection: Connection) -> None:
        """Learn what stands between us and the database, and settle what a session may keep."""
        row = connection.execute(
            "SELECT pg_backend_pid() AS pid, current_setting('default_transaction_isolation') AS isolation"
        ).fetchone()
        assert row is not None
        # A pooler hands out process numbers of its own making: nothing may live in a session then.
        self.pooler = row["pid"] != connection.info.backend_pid
        if self.pooler:
            connection.prepare_threshold = None
            return
        kept: list[bytes] = []
        if row["isolation"] != "read committed":
            kept.append(b"SET default_transaction_isolation = 'read committed'")
            connection.execute(kept[-1])
        if self._node:
            kept.append(f"{_NODE_PLANS}; {_NODE_NETWORK}".encode())
            connection.execute(kept[-1])
            with contextlib.suppress(psycopg.DatabaseError):
                connection.execute(_NODE_VIGILANCE)
                kept.append(_NODE_VIGILANCE)
            if isinstance(connection, OwnConnection):
                foreign = _FOREIGN.replace("{}", self.names["channel"].replace("'", "''"))
                connection.restoring = b"; ".join([_RESTORING, *kept, foreign.encode()])
        if self._statement_seconds is not None:
            connection.execute(f"SET statement_timeout = {int(self._statement_seconds * 1000)}".encode())

    @cached_property
    def pool(self) -> ConnectionPool[Connection]:
        """The pool; opened when first needed."""
        from psycopg_pool import ConnectionPool

        os.environ["PGTZ"] = "UTC"
        how: dict[str, Any] = {"autocommit": True, "row_factory": dict_row, **self._parameters}
        # A database that refuses us is told at once: the pool would try again and again for as long as it waits.
        self._ask_directly()
        return ConnectionPool(
            kwargs=how,
            configure=self._configure,
            reset=_as_ours,
            check=ConnectionPool.check_connection,
            min_size=0,
            max_size=_POOL_SIZE,
            timeout=_WAIT_FOR_CONNECTION if self._statement_seconds is None else min(3.0, self._statement_seconds),
            max_idle=60,
            reconnect_timeout=5,
            close_returns=True,
            open=True,
            name="opskit",
        )

    @cached_property
    def engine(self) -> sqlalchemy.Engine:
        """An SQLAlchemy engine over the same pool, for `pandas.read_sql` and the like.

        Raises:
            MissingExtraError: SQLAlchemy is not installed.
        """
        try:
            from sqlalchemy import NullPool, create_engine
        except ImportError:
            raise MissingExtraError("SQLAlchemy", "ui") from None

        def lent() -> Connection:
            connection = self.pool.getconn()
            connection.row_factory = tuple_row  # type: ignore[assignment]  # what SQLAlchemy reads; `_as_ours` takes it back
            return connection

        return create_engine("postgresql+psycopg://", creator=lent, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self.drop_connection()
        if "pool" in self.__dict__:
            self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- statements --------------------------------------------------------------------------

    def run(self, name: str, /, **values: object) -> list[Row]:
        """Run the one statement of `sql/<name>.sql` and return its rows.

        Args:
            name: The file's name without ".sql".
            values: Its variables; True, None, numbers, lists of text and mappings (JSON) are sent as text.

        Raises:
            DatabaseUnavailableError: No answer; the statement may or may not have been done.
            DatabaseError: PostgreSQL refused it.
            NotMigratedError: A table or column is missing.
        """
        with self.connection() as connection:
            return self.run_on(connection, name, **values)

    def one(self, name: str, /, **values: object) -> Row:
        """Run a statement that always answers one row."""
        return self.run(name, **values)[0]

    def run_on(self, connection: Connection, name: str, /, **values: object) -> list[Row]:
        """Run a statement on a given connection, perhaps within its transaction."""
        statement, text = self._text(name)
        for known in statement.values & self.names.keys():
            values.setdefault(known, self.names[known])
        statement.check(values)
        # Without values no placeholder is looked for, and a literal % stays one.
        bound = {key: as_text(value) for key, value in values.items()} if statement.values else None
        cursor = connection.execute(text, bound)
        return cursor.fetchall() if cursor.description else []

    def run_long(self, name: str, /, *, seconds: float, **values: object) -> list[Row]:
        """Run a statement that may take *seconds*, whatever this database otherwise allows."""
        with self.connection() as connection, connection.transaction():
            # jit: to compile such a statement takes longer than it saves.
            connection.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}; SET LOCAL jit = off".encode())
            return self.run_on(connection, name, **values)

    def ask(self, name: str, /, **values: str) -> dict[str, str | None]:
        """Run a statement that answers one row or none over the connection of its own, without the driver's cursor.

        For the node's hot path; see `OwnConnection.ask`.

        Args:
            name: As for `run`.
            values: Its variables, as text.

        Returns:
            The row, its values as the server's text; empty when there is none.

        Raises:
            As `run` does.
        """
        found = self._asked.get(name)
        if found is None:
            statement = queries.statement(name)
            found = self._asked[name] = (statement, *statement.numbered(self.names))
        statement, text, order = found
        statement.check(values)
        # A uuid travels as its 16 bytes: PostgreSQL reads them for a twentieth of what its 36 letters cost.
        given = [
            bytes.fromhex(values[key].replace("-", "")) if is_uuid else values[key].encode()
            for key, is_uuid in order.items()
        ]
        try:
            with self._lock:
                return self._mine().ask(name.encode(), text, given, [*order.values()], prepare=not self.pooler)
        except psycopg.Error as error:
            raise _translation(error) from error

    def _text(self, name: str) -> tuple[queries.Statement, bytes]:
        found = self._texts.get(name)
        if found is None:
            statement = queries.statement(name)
            found = self._texts[name] = (statement, statement.compose(self.names).as_bytes())
        return found

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
        import socket

        own = self._own
        with contextlib.suppress(OSError, psycopg.Error):
            if own is not None and not own.closed:
                with socket.socket(fileno=os.dup(own.fileno())) as copy:
                    copy.shutdown(socket.SHUT_RDWR)

    def __repr__(self) -> str:
        return f"<opskit.Database {masked(self.settings.database_url or '')} {self.settings.env} {self.settings.files}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: where this is and the numbers of the moment; never raises, never waits for long."""
        numbers, state = None, "migrated"
        try:
            # A connection of its own: the pool's may be taken, and would be waited for.
            with Database(self.settings, pooled=False, statement_seconds=_SHOWN_SECONDS) as one:
                numbers = one.one("concurrency", stale_after_seconds=self.settings.stale_after_seconds)
        except NotMigratedError:
            state = "not migrated; run: opskit migrate"
        except Exception as error:
            state = masked(str(error))
        url = masked(self.settings.database_url or "")
        return display.database(env=self.settings.env, table=self.settings.files, url=url, state=state, numbers=numbers)


def _parsed(url: str) -> dict[str, Any]:
    try:
        return {key: value for key, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError as error:
        raise SettingError(f"DATABASE_URL cannot be used: {masked(str(error).strip())}") from None


def _with_url(settings: Settings, url: str) -> Settings:
    import dataclasses

    return dataclasses.replace(settings, database_url=url)


def as_text(value: object) -> str | None:
    """A value as psql would send it."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        quoted = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        return "{" + ",".join(f'"{item}"' for item in quoted) + "}"
    return str(value)


def _as_ours(connection: Connection) -> None:
    """A connection that comes back to the pool gives rows as we read them."""
    connection.row_factory = dict_row


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into opskit's, each one sentence; the driver's stays as `__cause__`."""
    try:
        yield
    except psycopg.Error as error:
        raise _translation(error) from error


def _translation(error: psycopg.Error) -> DatabaseError | DatabaseUnavailableError:
    said = masked(" ".join((error.diag.message_primary or str(error)).split()))
    state = error.sqlstate
    if isinstance(error, pg.InvalidSqlStatementName):
        # A processor has deallocated what the driver has prepared: a new connection will do.
        return DatabaseUnavailableError(f"this connection is of no use any more: {said}")
    if isinstance(error, _GONE) or ((state or "08").startswith("08") and isinstance(error, psycopg.OperationalError)):
        return DatabaseUnavailableError(f"the database cannot be reached: {said}")
    translation: DatabaseError
    if isinstance(error, (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction)):
        translation = NotMigratedError(f"{said}; the tables are not migrated, run: opskit migrate")
    else:
        translation = DatabaseError(f"PostgreSQL says: {said}")
    translation.sqlstate = state
    return translation
