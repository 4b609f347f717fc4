"""Databases that tests use one after another, each as good as new.

PostgreSQL works 10 ms to copy and to drop a database, and 15 ms more for the first session, which knows nothing of it.
Most tests leave nothing but rows behind. After such a test its database is used again, by the rule in `Databases`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import dict_row

from opskit.database import Database
from opskit.database.session import SessionConnection
from tests.support import servers

MOST_USES = 40  # emptied tables leave dead rows in pg_class
PATIENCE_SECONDS = 0.1
_ALONE = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
# What the server keeps about a database outside of it: none of it is there for a copy.
_OUTSIDE = """
    SELECT age(d.xmin) < age({since}::xid), (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = d.oid)
         + (SELECT count(*) FROM pg_shdescription WHERE objoid = d.oid AND classoid = 'pg_database'::regclass)
         + (SELECT count(*) FROM pg_shseclabel WHERE objoid = d.oid AND classoid = 'pg_database'::regclass)
         + (SELECT count(*) FROM pg_subscription WHERE subdbid = d.oid)
         + (SELECT count(*) FROM pg_prepared_xacts WHERE database = d.datname)
         + (SELECT count(*) FROM pg_replication_slots WHERE database = d.datname)
      FROM pg_database AS d WHERE d.datname = current_database()
"""
# A query about each catalog: how many rows it has, and whether one is younger than a transaction. What the server finds
# about its own catalogs by itself (autovacuum) does not count.
_CATALOGS = """
    SELECT string_agg(format('SELECT %L, count(*), min(age(xmin)) < age({since}::xid) FROM %s %s',
                             relname, oid::regclass,
                             CASE relname WHEN 'pg_statistic' THEN 'WHERE starelid >= 16384' END),
                      ' UNION ALL ')
      FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared
"""
_TABLES = """
    SELECT relname::text, reltuples >= 0 OR pg_relation_size(oid) > 0 FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
# What CREATE INDEX has noted about the tables; a COPY does not.
_NOTED = """
    SELECT array_agg(relname::text), array_agg(relpages), array_agg(reltuples) FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
"""
_NOTE = """
    UPDATE pg_class SET relpages = pages, reltuples = tuples
      FROM unnest(%s::text[], %s::int[], %s::real[]) AS noted (name, pages, tuples)
     WHERE oid = name::regclass AND (relpages, reltuples) IS DISTINCT FROM (pages, tuples)
"""
_SEQUENCES = "SELECT seqrelid::regclass::text, seqstart, pg_sequence_last_value(seqrelid) FROM pg_sequence"
# Whether a table has so many rows, none of them younger than a transaction.
_UNTOUCHED = "SELECT count(*) = {rows} AND NOT coalesce(bool_or(age(xmin) < age({since}::xid)), false) FROM {table}"


@dataclass(frozen=True)
class Template:
    """What a new copy of a template holds."""

    name: str
    catalogs: sql.SQL  # the query about each catalog
    sizes: dict[str, int]  # how many rows each has
    tables: dict[str, bytes]  # the rows of each table
    noted: tuple[Any, ...]
    sequences: list[tuple[Any, ...]]


@dataclass
class Lent:
    """A database in the hands of a test.

    A fixture takes the session that the test before left, if any, and hands one back at its end. A database without a
    session is not used again.
    """

    url: str
    template: Template | None
    session: PGconn | None = None
    settled: str = ""  # the transaction since which nothing but rows may have changed
    uses: int = 0
    running: frozenset[object] = field(default_factory=frozenset)

    def connection(self, kind: type[psycopg.Connection[Any]]) -> psycopg.Connection[Any] | None:
        """The session that is there already, as a new connection in autocommit."""
        session, self.session = self.session, None
        if session is None:
            return None
        connection = kind(session)
        connection.autocommit = True
        return connection

    def hand_back(self, connection: psycopg.Connection[Any]) -> None:
        """Take the session out of an open connection, which is closed then."""
        if not connection.closed and self.template is not None and self.session is None:
            self.session, connection.pgconn = connection.pgconn, _closed_session()


class Databases:
    """The databases of this test process.

    A database is used again if the test that had it left no thread and no program running and no other session in it,
    and if, once the tables are dropped that its template does not have,

    * each catalog has as many rows as in the template, and none that is younger than the test: nothing was created,
      altered, granted, commented or analyzed;
    * the server keeps nothing about it: no setting of it or of a role in it, no prepared transaction, no slot.

    Then its tables are emptied, and sequences, counters and session begin again. Else it is dropped. A test that looks
    at what is not reset (pages of catalogs, the age of the session), or changes the schema, asks for a new one by
    `@pytest.mark.new_database`.
    """

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        self._templates: dict[str, Template] = {}
        self._idle: dict[str, Lent] = {}

    def lend(self, template: str, *, again: bool) -> Lent:
        """A database like *template*: one that was used before or will be, if *again*."""
        idle = self._idle.pop(template, None) if again else None
        if idle is not None and not self._lives(idle):
            self._drop(idle)
            idle = None
        if idle is None:
            known = self._known(template) if again else None
            idle = Lent(self._server.create_database(template), known)
            idle.settled = self._server.transaction()
        idle.uses += 1
        idle.running = _running()
        return idle

    def take_back(self, lent: Lent) -> None:
        """Keep a database for the next test if it is as good as new; else drop it."""
        if lent.template is not None and self._is_renewed(lent):
            self._idle[lent.template.name] = lent
        else:
            self._drop(lent)

    def close(self) -> None:
        """Drop what waits for a next test."""
        for lent in self._idle.values():
            self._drop(lent)
        self._idle.clear()

    def _drop(self, lent: Lent) -> None:
        if lent.session is not None:
            lent.session.finish()
        self._server.leave_database(lent.url)

    def _known(self, name: str) -> Template:
        if name not in self._templates:
            with psycopg.connect(self._server.url.rpartition("/")[0] + "/" + name) as connection:
                catalogs = sql.SQL(connection.execute(_CATALOGS).fetchall()[0][0])
                self._templates[name] = Template(
                    name,
                    catalogs,
                    {catalog: size for catalog, size, _ in connection.execute(catalogs.format(since=sql.Literal("1")))},
                    {table: _copied(connection, table) for table, _ in connection.execute(_TABLES).fetchall()},
                    connection.execute(_NOTED).fetchall()[0],
                    connection.execute(_SEQUENCES).fetchall(),
                )
        return self._templates[name]

    def _lives(self, lent: Lent) -> bool:
        assert lent.session is not None
        with contextlib.suppress(psycopg.Error):
            return lent.session.exec_(b"SELECT 1").error_message == b""
        return False

    def _is_renewed(self, lent: Lent) -> bool:
        if lent.session is None or lent.uses >= MOST_USES or lent.session.transaction_status != TransactionStatus.IDLE:
            return False
        if not _ended(lent.running):
            return False
        connection = lent.connection(psycopg.Connection)
        assert connection is not None
        connection.prepare_threshold = None
        try:
            connection.execute("DISCARD ALL")
            return _is_alone(connection) and _renew(connection, lent)
        except psycopg.Error:
            return False
        finally:
            lent.hand_back(connection)


def _copied(connection: psycopg.Connection[Any], table: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
        return b"".join(map(bytes, copy))


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _closed_session() -> PGconn:
    session = psycopg.pq.PGconn.connect_start(b"")
    session.finish()
    return session


def _running() -> frozenset[object]:
    """The threads of this process, and the numbers of the programs that it has started."""
    running: set[object] = {*threading.enumerate()}
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended
            running.update(file.read_text().split())
    return frozenset(running)


def _ended(before: frozenset[object]) -> bool:
    """Whether what has begun since *before* is over."""
    more = _running() - before
    for thread in more:
        if isinstance(thread, threading.Thread):
            thread.join(PATIENCE_SECONDS)
    return not more or _running() <= before


def _is_alone(connection: psycopg.Connection[Any]) -> bool:
    """Whether no other session is in the database; one that has just been closed needs a moment."""
    end = time.monotonic() + PATIENCE_SECONDS
    while connection.execute(_ALONE).fetchone() != (True,):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _renew(connection: psycopg.Connection[Any], lent: Lent) -> bool:
    """Undo what may be undone; whether a test sees no difference to a new copy then."""
    template, since = lent.template, sql.Literal(lent.settled)
    assert template is not None
    if connection.execute(sql.SQL(_OUTSIDE).format(since=since)).fetchone() != (False, 0):
        return False
    tables = connection.execute(_TABLES).fetchall()
    if others := [table for table, _ in tables if table not in template.tables]:
        connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(_names(others)))
    catalogs = connection.execute(template.catalogs.format(since=since)).fetchall()
    if any(younger for *_, younger in catalogs) or {name: size for name, size, _ in catalogs} != template.sizes:
        return False
    used = [table for table, used in tables if used and table in template.tables]
    if used := [table for table in used if not _is_untouched(connection, table, lent)]:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(sql.SQL("TRUNCATE {}").format(_names(used)))
            for table in filter(template.tables.get, used):
                with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(_names([table]))) as copy:
                    copy.write(template.tables[table])
                connection.execute(_NOTE, template.noted)
            ((lent.settled,),) = connection.execute(servers.TRANSACTION).fetchall()
    if connection.execute(_SEQUENCES).fetchall() != template.sequences:
        for name, start, last in template.sequences:
            connection.execute("SELECT setval(%s::regclass, %s, %s)", (name, last or start, last is not None))
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_reset()")  # what this session has counted is there by now
    return True


def _is_untouched(connection: psycopg.Connection[Any], table: str, lent: Lent) -> bool:
    """Whether a table that is not empty in the template holds the template's rows."""
    assert lent.template is not None
    rows = lent.template.tables[table].count(b"\n")
    if rows == 0:
        return False
    query = sql.SQL(_UNTOUCHED).format(rows=rows, since=sql.Literal(lent.settled), table=sql.Identifier(table))
    return connection.execute(query).fetchone() == (True,)


def begin_with(database: Database, lent: Lent) -> None:
    """Have the pool of a database begin with the session that is there already."""
    first = database._pool._first_session

    def there() -> SessionConnection:
        connection = lent.connection(SessionConnection)
        if connection is None:
            return first()
        assert isinstance(connection, SessionConnection)
        connection.row_factory = dict_row
        return connection

    database._pool._first_session = there  # type: ignore[method-assign]


def hand_back(database: Database, lent: Lent) -> None:
    """Take a session out of the pool of a database that is about to be closed."""
    pool = database._pool._pool
    if pool is None:
        return
    end = time.monotonic() + PATIENCE_SECONDS
    # What a test has just given back is there in a moment: the pool's own thread takes it.
    while (stats := pool.get_stats())["pool_size"] and time.monotonic() < end:
        if stats["pool_available"]:
            with contextlib.suppress(psycopg.Error):
                lent.hand_back(pool.getconn(timeout=1))
            return
        time.sleep(0.001)
