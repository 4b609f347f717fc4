"""The settings of a session, whatever the defaults of server, database and role.

The server's, a database's or a role's own settings (DateStyle, time-outs, isolation, an encoding) must not change what
our statements mean. A session of our own is set once, when it begins. Behind a pooler in transaction mode nothing may
live in a session: there each statement runs in a transaction of its own that sets the same for itself, but only where
something has to be set, because that takes three round trips in place of one.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import TimestampLoader, TimestamptzLoader
from psycopg.types.json import set_json_loads
from psycopg.types.string import StrDumperUnknown

from opskit.database import queries

Row = dict[str, Any]
Connection = psycopg.Connection[Row]
# The same from the server's side: a row that a vanished host has locked is free after 11 s, not two hours.
_NODE_NETWORK = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 10000"
)
# A backend at work on a statement learns within a second that its client has died, and gives its locks back. Not every
# server's system can tell.
_NODE_VIGILANCE = b"SET client_connection_check_interval = 1000"
# The queue has one right plan: its index. These keep the planner to it whatever its statistics say
# (never analyzed; analyzed empty, then a million rows).
_NODE_PLANS = (
    "SET enable_indexscan = on; SET enable_seqscan = off; SET enable_bitmapscan = off; "
    "SET plan_cache_mode = force_generic_plan"
)
# Triggers fire only then; a superuser's setting, which only a superuser can take back.
_TRIGGERS = b"SET session_replication_role = origin"
# What lies beyond Python's calendar is shown as its ends; a day away from them, so that a zone can be added.
_EARLIEST, _LATEST = datetime(1, 1, 2), datetime(9999, 12, 30)
_LOOK = (
    b"SELECT pg_backend_pid() AS pid, current_setting('session_replication_role') <> 'origin' AS triggers_sleep; "
    + queries.statement("_settings").compose({}).as_bytes()
)
_TEXT = ("text", "varchar", "bpchar", "name", '"char"')


class SessionConnection(psycopg.Connection[Row]):
    """A connection whose statements mean the same wherever it leads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sets_locally = False
        self.local_settings = b""
        self.kept: list[bytes] = []  # what this session was set to: whoever resets it sets it so again
        self.adapters.register_loader("timestamptz", _Timestamptz)
        self.adapters.register_loader("timestamp", _Timestamp)

    def set_locally(self, statements: list[str], *, read_only: bool) -> None:
        """Let every statement and every transaction begin with *statements*, which must not outlive it."""
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self.read_only = read_only or None
        self.cursor_factory = _Cursor
        self.sets_locally, self.local_settings = True, "; ".join(statements).encode()

    @contextlib.contextmanager
    def with_local_settings(self) -> Iterator[None]:
        """A transaction with the local settings around one statement, where a pooler makes that necessary."""
        alone = self.sets_locally and self.info.transaction_status == TransactionStatus.IDLE
        with self.transaction() if alone else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """As the driver's; the outermost begins with the settings."""
        outermost = self.local_settings and self.info.transaction_status == TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if outermost:
                self.execute(self.local_settings)
            yield transaction


def begin(connection: Connection, how: bytes = b"BEGIN") -> None:
    """Begin a transaction that the caller ends; it starts with the session's local settings.

    Behind a pooler a BEGIN through `execute` stands within a transaction of its own, which ends with that statement:
    what follows would commit statement by statement.

    Args:
        connection: One of ours, with no transaction open.
        how: The statement, such as BEGIN READ WRITE.
    """
    local = connection.local_settings if isinstance(connection, SessionConnection) else b""
    psycopg.Cursor(connection).execute(b"; ".join([how, local]) if local else how, prepare=False)


class _Cursor(psycopg.Cursor[Any]):
    """A cursor for what not every server needs: local settings, and bytes where the database knows no encoding."""

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        assert isinstance(connection, SessionConnection)
        with connection.with_local_settings():
            return super().execute(_as_bytes(query), *args, **kwargs)

    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        return super().copy(_as_bytes(statement), *args, **kwargs)

    @property
    def _encoding(self) -> str:
        """How the driver reads the names of columns: SQL_ASCII would be ASCII to it."""
        found = super()._encoding
        return "utf-8" if found == "ascii" else found


def settle(connection: SessionConnection, *, node: bool, read_only: bool, statement_seconds: float | None) -> bool:
    """Learn what stands between us and the database, and set what our statements depend on.

    Args:
        connection: A new connection, in autocommit.
        node: It is a node's: its plans are kept to the queue's indexes.
        read_only: Its transactions begin READ ONLY.
        statement_seconds: Longest time a statement may take [s]; None: no limit.

    Returns:
        Whether a pooler stands between.

    SQL: sql/_settings.sql
    """
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        _take_bytes(connection, "surrogateescape" if node else "replace")
    look = connection.execute(_LOOK)
    (first,) = look.fetchall()
    look.nextset()
    statements = [row["statement"] for row in look.fetchall()]
    # A pooler hands out process numbers of its own making: nothing may live in a session then.
    if first["pid"] != connection.info.backend_pid:
        connection.prepare_threshold = None
        if statements or read_only:
            connection.set_locally([text.replace("SET", "SET LOCAL", 1) for text in statements], read_only=read_only)
        return True
    if node:
        statements += [_NODE_PLANS, _NODE_NETWORK]
    if read_only:
        statements.append("SET default_transaction_read_only = on")
    if statement_seconds is not None:
        statements.append(f"SET statement_timeout = {int(statement_seconds * 1000)}")
    if statements:
        connection.kept.append("; ".join(statements).encode())
        connection.execute(connection.kept[-1])
    for wanted, statement in ((node, _NODE_VIGILANCE), (first["triggers_sleep"], _TRIGGERS)):
        if wanted:
            with contextlib.suppress(psycopg.DatabaseError):
                connection.execute(statement)
                connection.kept.append(statement)
    return False


def fitting(text: str, encoding: str | None) -> str:
    """*text* with what *encoding*, one of PostgreSQL's, cannot hold as its code: "→" becomes "<U+2192>".

    What the server refused would cost more than what it shows: a failure that is not written down, a claim
    that never ends.
    """
    if encoding in (None, "UTF8", "SQL_ASCII"):
        return text
    codec = _codec(encoding)
    return text.encode(codec, "opskit_code").decode(codec)


@functools.cache
def _codec(encoding: str) -> str:
    """Python's name of one of PostgreSQL's encodings; ASCII for the few that Python does not know."""
    name = encoding.lower().replace("win", "cp").replace("koi8", "koi8_").replace("euc_cn", "gb2312")
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "ascii"


def _code(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(f"<U+{ord(sign):04X}>" for sign in error.object[error.start : error.end]), error.end


codecs.register_error("opskit_code", _code)


def _take_bytes(connection: SessionConnection, errors: str) -> None:
    """Read and write a database that knows no encoding: its bytes are UTF-8 mostly, and need not be.

    The server would refuse to hand out as UTF-8 what is none; the driver gives the bytes themselves for SQL_ASCII.
    """
    connection.kept.append(b"SET client_encoding = 'SQL_ASCII'")
    connection.execute(connection.kept[-1])
    connection.cursor_factory = _Cursor

    class Text(Loader):
        def load(self, data: Buffer) -> str:
            return bytes(data).decode("utf-8", errors)

    class Dumped(StrDumperUnknown):
        def dump(self, obj: str) -> Buffer | None:
            return super().dump(obj) if obj.isascii() else obj.encode("utf-8", errors).replace(b"\0", b"")

    for name in (0, *_TEXT):
        connection.adapters.register_loader(name, Text)
    if errors == "surrogateescape":
        connection.adapters.register_dumper(str, Dumped)
    set_json_loads(_json, connection)


def _json(data: str | bytes) -> Any:
    return json.loads(data if isinstance(data, str) else bytes(data).decode("utf-8", "replace"))


def _as_bytes(query: Any) -> Any:
    if isinstance(query, sql.Composable):
        return query.as_bytes()
    return query.encode() if isinstance(query, str) else query


class _Timestamptz(TimestamptzLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _end(data).replace(tzinfo=UTC)


class _Timestamp(TimestampLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _end(data)


def _end(data: Buffer) -> datetime:
    """The end of Python's calendar that lies next to a time beyond it, such as -infinity."""
    text = bytes(data)
    return _EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else _LATEST
