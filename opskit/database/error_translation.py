"""Translates the driver's errors into opskit's by SQLSTATE, because the server's messages may be in any language."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from opskit.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    NotMigratedError,
)
from opskit.support.logs import masked


def is_locked(error: DatabaseError | DatabaseUnavailableError) -> bool:
    """Whether somebody's lock was in the way for too long: the statement did nothing, there is nothing to look up."""
    return isinstance(error, DatabaseError) and error.sqlstate == "55P03"


READ_ONLY = "this connection is read-only (OPSKIT_READ_ONLY); nothing was changed"
# The server has ended the session, or takes none.
_GONE = (
    pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.TooManyConnections, pg.DatabaseDropped,
    pg.IdleSessionTimeout, pg.IdleInTransactionSessionTimeout, pg.TransactionTimeout,
)  # fmt: skip


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into opskit's, each one sentence; the driver's stays as `__cause__`."""
    try:
        yield
    except psycopg.Error as error:
        raise translation(error) from error


def translation(error: psycopg.Error) -> DatabaseError | DatabaseUnavailableError:
    """An error of the driver as one of opskit's."""
    said = masked(" ".join((error.diag.message_primary or str(error)).split()))
    state = error.sqlstate
    if isinstance(error, pg.InvalidSqlStatementName):
        # A processor has deallocated what the driver has prepared: a new connection will do.
        return DatabaseUnavailableError(f"this connection is of no use any more: {said}")
    if isinstance(error, _GONE) or ((state or "08").startswith("08") and isinstance(error, psycopg.OperationalError)):
        return DatabaseUnavailableError(f"the database cannot be reached: {said}")
    translated: DatabaseError
    if isinstance(error, (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction)):
        translated = NotMigratedError(f"{said}; the tables are not migrated, run: opskit migrate")
    else:
        translated = DatabaseError(f"PostgreSQL says: {said}")
    translated.sqlstate = state
    return translated


def server_answers(parameters: Mapping[str, Any], error: psycopg.Error) -> bool:
    """Whether a server lives that could not be connected to: it refused us (too many connections, say, or starting up).

    A failed connection has no SQLSTATE in the driver, and its words are the server's language; libpq's own
    ping judges by the SQLSTATE that it received.

    Args:
        parameters: As the connection was tried.
        error: Why it failed.
    """
    if error.sqlstate is not None:
        return not error.sqlstate.startswith("08")
    if isinstance(error, pg.ConnectionTimeout):
        return False  # asked again, it would be waited for as long again
    return PGconn.ping(make_conninfo("", **parameters).encode()) in (Ping.OK, Ping.REJECT)
