"""The database: connections, the statements of `sql/`, and errors in one sentence.

One `Database` serves everything a process does. It is pooled, for readers with many threads, or it is
one connection of its own, for a node. Values travel as text, as psql sends them: a statement behaves
the same through every door.

Nothing here lives in a session, so that PgBouncer in transaction mode may stand between; the zone is a
startup parameter (PGTZ), which PgBouncer tracks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg.pq import ExecStatus
from psycopg.rows import dict_row, tuple_row

from opskit.database import parameters, queries
from opskit.database.cache import Cache
from opskit.database.connection import NodeConnection
from opskit.database.names import names as names
from opskit.database.pool import Pool
from opskit.database.session import Connection as Connection
from opskit.database.session import Row as Row
from opskit.database.session import SessionConnection, fitting, settle
from opskit.database.translation import READ_ONLY, server_answers, translation
from opskit.database.translation import translated as translated
from opskit.errors import ConnectionClosedError, ForbiddenError, MissingExtraError, NotMigratedError
from opskit.settings import Settings
from opskit.support import notebook_output
from opskit.support.actor import person
from opskit.support.logs import masked

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
_SHOWN_SECONDS = 2.0  # how long a notebook waits for the numbers of an open database
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


class Database:
    """An open database: `db = opskit.connect()`, or `with Database(settings) as db`.

    Args:
        settings: Where it is and which environment's tables are meant.
        pooled: Many threads share a pool; False: one connection, made when first needed.
        statement_seconds: Longest time a statement may take [s]. Defaults to no limit.
        node: The connection is a node's: its plans are kept to the queue's indexes.
        name: Whose sessions these are, as pg_stat_activity shows it; at most 63 bytes of it are kept.
        actor: Who acts through it, for the history. Defaults to $JUPYTERHUB_USER, else this machine's user.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pooled: bool = True,
        statement_seconds: float | None = None,
        node: bool = False,
        name: str = "",
        actor: str = "",
    ) -> None:
        if settings.database_url is None:
            from opskit.database import embedded

            url = embedded.start(settings)
        else:
            url = parameters.understood(settings.database_url)
        self.settings = settings = dataclasses.replace(settings, database_url=url)
        self.names = names(settings)
        self.actor = actor.strip() or person()
        self.pooler = False
        self.cache = Cache()
        self.encoding: str | None = None  # the database's; known once there is a connection
        self._given = {"pooled": pooled, "statement_seconds": statement_seconds, "node": node, "name": name}
        self._given["actor"] = actor
        self._pooled = pooled
        self._node = node
        self._statement_seconds = statement_seconds
        self._texts: dict[str, tuple[queries.Statement, bytes]] = {}
        self._asked: dict[str, tuple[queries.Statement, bytes, dict[str, bool]]] = {}
        self._own: NodeConnection | None = None
        self._foreign: NodeConnection | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._silence_seconds = max(1.0, min(5.0, settings.lease_seconds / 6))
        network = _NETWORK if pooled else _NETWORK | {"connect_timeout": str(max(2, round(self._silence_seconds)))}
        # The encoding is ours whatever the URL says: the texts that we send and read are UTF-8.
        self._parameters = network | parameters.parsed(url) | {"client_encoding": "UTF8"}
        self._parameters.setdefault("application_name", f"opskit {settings.env} {name}".strip()[:63])
        wait_seconds = _WAIT_FOR_CONNECTION if statement_seconds is None else min(3.0, statement_seconds)
        self._pool = Pool(self._parameters, self._configure, wait_seconds=wait_seconds)
        _opened.add(self)

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
    def own(self) -> NodeConnection | None:
        """The connection of its own, as it is; None while there is none."""
        return self._own

    def disown(self) -> None:
        """Forget the connection of its own: its descriptor was closed, and may be another file's by now."""
        self._foreign, self._own = self._own, None

    def give_up(self) -> None:
        """Give up the connection of its own while another thread may be using it: its socket is shut down."""
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
        """Settle what a new session is set to, and learn what stands between us and the database."""
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

    def read(self, query: str, /, **values: object) -> Any:
        """Read with SQL of your own; nothing can be written.

        Args:
            query: One statement; values stand in it as %(name)s.
            values: By name.

        Returns:
            A pandas frame: whole numbers Int64, times in UTC, texts string; the same dtypes when it is empty.

        Raises:
            DatabaseError: PostgreSQL refuses it, in one sentence.
            MissingExtraError: pandas is not installed.
        """
        # By name: frames belong to a package above this one, and a node never loads it.
        try:
            reading = importlib.import_module("opskit.stats.own_sql")
        except ImportError:
            raise MissingExtraError("pandas", "ui") from None
        return reading.read(self, query, values)

    def answer(self, query: str, values: Mapping[str, object]) -> tuple[list[tuple[Any, ...]], list[tuple[str, int]]]:
        """The rows of one statement of the caller's, which cannot write; and name and type of each column."""
        with self.connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION READ ONLY")
            with connection.cursor(row_factory=tuple_row) as cursor:
                if not values:
                    # Text without values may be several statements, and one of them a COMMIT; what is parsed is one.
                    parsed = connection.pgconn.prepare(b"", query.encode())
                    if parsed.status == ExecStatus.FATAL_ERROR:
                        raise psycopg.errors.error_from_result(parsed)
                cursor.execute(query.encode(), dict(values) or None)
                columns = [(column.name, column.type_code) for column in cursor.description or ()]
                return (cursor.fetchall() if columns else []), columns

    def writing(self) -> None:
        """Return when this connection may change something: the first line of whatever does.

        Raises:
            ForbiddenError: It is read-only (`read_only=True`, OPSKIT_READ_ONLY=1).
        """
        if self.settings.read_only:
            raise ForbiddenError(READ_ONLY)

    def fitting(self, text: str) -> str:
        """*text* as the database's encoding can hold it: "→" becomes "<U+2192>" in LATIN1."""
        return fitting(text, self.encoding)

    def rename(self, **names: str) -> None:
        """Take over names that only the database knows, such as that of the lanes' column; statements are made anew."""
        if all(self.names.get(key) == name for key, name in names.items()):
            return
        was_known = "lane" in names and "lane" in self.names
        self.names.update(names)
        self._texts.clear()
        self._asked.clear()
        if was_known:
            # What it has prepared is of the old name.
            self.drop_connection()

    def close(self) -> None:
        """Close every connection, for good."""
        with self._lock:
            self._closed = True
            self.drop_connection()
        self._pool.close()

    def _forget(self) -> None:
        """Begin again in a process that was forked: the connections are its parent's, and are left alone."""
        self.disarm()
        self._pool.forget()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same database anew."""
        return _again, (self.settings, self._given)

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
        bound = {key: self._bound(value) for key, value in values.items()} if statement.values else None
        cursor = connection.execute(text, bound)
        return cursor.fetchall() if cursor.description else []

    def _bound(self, value: object) -> str | None:
        text = as_text(value)
        return text if text is None or self.encoding in _HOLD_ANYTHING else fitting(text, self.encoding)

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
            bytes.fromhex(values[key].replace("-", "")) if is_uuid else self._sent(values[key])
            for key, is_uuid in order.items()
        ]
        self._check_open()
        try:
            with self._lock:
                own = self._mine()
                asked = (name.encode(), text, given, [*order.values()])
                if not own.sets_locally:
                    return own.ask(*asked, prepare=not self.pooler)
                with own.used_by_us(), own.with_local_settings():
                    return own.ask(*asked, prepare=False)
        except psycopg.Error as error:
            raise translation(error) from error

    def _sent(self, text: str) -> bytes:
        held = text if self.encoding in _HOLD_ANYTHING else fitting(text, self.encoding)
        return held.encode("utf-8", "surrogateescape")

    def _text(self, name: str) -> tuple[queries.Statement, bytes]:
        found = self._texts.get(name)
        if found is None:
            statement = queries.statement(name)
            found = self._texts[name] = (
                statement,
                fitting(statement.compose(self.names).as_string(), self.encoding).encode(),
            )
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
        settings = self.settings
        url = masked(settings.database_url or "")
        return f"<opskit.Database {url} {settings.env} {settings.files} home {settings.home_path}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: where this is and the numbers of the moment; never raises, never waits for long."""
        numbers, state = None, "migrated"
        try:
            # A connection of its own: the pool's may be taken, and would be waited for.
            with Database(self.settings, pooled=False, statement_seconds=_SHOWN_SECONDS) as one:
                numbers = one.one("concurrency", stale_after_seconds=self.settings.stale_after_seconds)
        except NotMigratedError:
            state = "not migrated; run: opskit migrate, or here: opskit.migration.migrate(db)"
        except Exception as error:
            state = masked(str(error))
        url = masked(self.settings.database_url or "")
        return notebook_output.database(
            env=self.settings.env,
            table=self.settings.files,
            url=url,
            home=str(self.settings.home_path),
            state=state,
            numbers=numbers,
            actor=self.actor,
            page=self.settings.page_url,
        )


def as_text(value: object) -> str | None:
    """A value as psql would send it."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple, set, frozenset)):
        quoted = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        return "{" + ",".join(f'"{item}"' for item in quoted) + "}"
    return str(value)


_HOLD_ANYTHING = (None, "UTF8", "SQL_ASCII")
_opened: weakref.WeakSet[Database] = weakref.WeakSet()


def _again(settings: Settings, given: dict[str, Any]) -> Database:
    return Database(settings, **given)


def _after_fork() -> None:
    for database in list(_opened):
        database._forget()


os.register_at_fork(after_in_child=_after_fork)
