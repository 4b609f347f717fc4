"""A scratch schema on the operator's own database, dropped at the end whatever happened: where prove and bench work."""

from __future__ import annotations

import atexit
import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from opskit.database import local_scratch
from opskit.database.database import Database
from opskit.database.session import Connection, Row
from opskit.errors import DatabaseError, EmbeddedServerError, OpskitError, SettingError
from opskit.settings import Settings

_SCRATCH = "opskit_(?:scratch|prove|bench)_"
_ABANDONED_SECONDS = 86400
_HEAVY = "file_content"
_DENIED = {"42501": "this role may create nothing in the database", "25006": "this connection only reads"}


class Scratch(Database):
    """A database whose tables lie in a schema of their own; `close` drops it, and so does the end of the process.

    Attributes:
        schema: Its name.
        copied: Rows copied from the real table.
        local: Whether it is on a server of its own, on this machine.
    """

    def __init__(
        self, settings: Settings, name: str, copied: int = 0, *, end: Callable[[], None] | None = None
    ) -> None:
        super().__init__(settings)
        self.schema, self.copied, self.local = name, copied, end is not None
        self._end = end
        atexit.register(self.close)

    def pass_time(self, *, seconds: float = 0, minutes: float = 0) -> None:
        """Make everything in the scratch that much older: leases run out, claims grow stale, without waiting."""
        older = seconds + 60 * minutes
        columns: dict[str, list[str]] = {}
        with self.connection() as connection, connection.transaction():
            for row in connection.execute(
                "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s "
                "AND data_type LIKE 'timestamp%%' AND is_generated = 'NEVER' AND is_updatable = 'YES'",
                (self.schema,),
            ):
                columns.setdefault(row["table_name"], []).append(row["column_name"])
            for table, names in columns.items():
                shifts = [
                    sql.SQL("{0} = {0} - %(older)s * interval '1 second'").format(sql.Identifier(n)) for n in names
                ]
                statement = sql.SQL("UPDATE {} SET {}").format(sql.Identifier(table), sql.SQL(", ").join(shifts))
                connection.execute(statement, {"older": older})

    def close(self) -> None:
        """Drop the schema with all that is in it, and close every connection."""
        atexit.unregister(self.close)
        super().close()
        if self._end is not None:
            self._end()
            return
        with (
            contextlib.suppress(OpskitError),
            Database(self.settings, pooled=False, statement_seconds=10) as last,
            last.connection() as connection,
        ):
            connection.execute(_drop(self.schema))


def scratch(db: Database, *, rows: int | None = None, **settings: Any) -> Scratch:
    """Make a schema of its own in the same database, with tables of the same names; the real ones are only read.

    Times and the processor are as by default, whatever the settings say: the built-in one, which only reads.
    Scratches that a killed process left behind are dropped after a day, by the next one.

    Whoever may not create a schema there, or only reads, gets it on an embedded server of this machine, which ends with
    it; the copy is then one of columns, types and rows alone. It says so.

    Args:
        db: An open database.
        rows: Copy the files table as the application made it, without what opskit added and without the files'
            contents, and this many of its newest rows. Defaults to None: the schema begins empty.
        settings: Other settings by field name, such as lease_seconds=10.

    Raises:
        SettingError: A connection pooler stands between; it may lead a statement to the real tables.
        DatabaseError: The database's user may not create schemas, and there is no PostgreSQL on this machine.
    """
    try:
        return _made(db, "scratch", rows, settings)
    except DatabaseError as error:
        if error.sqlstate not in _DENIED:
            raise
        why = _DENIED[error.sqlstate]
        try:
            made = _made_here(db, rows, settings)
        except EmbeddedServerError:
            raise error from None
    print(f"{why}: the scratch is on a server of its own, on this machine")
    return made


def _made_here(db: Database, rows: int | None, others: dict[str, Any]) -> Scratch:
    where, end = local_scratch.launched()
    try:
        own = {
            "database_url": where.database_url,
            "home": where.home,
            "env": db.settings.env,
            "table": db.settings.table,
        }
        made = Scratch(Settings(**{**own, **others}), "public", end=end)
        if rows is not None:
            with db.connection() as there, made.connection() as here:
                made.copied = local_scratch.copy(there, here, db.settings.files, rows, heavy=_HEAVY)
    except BaseException:
        end()
        raise
    return made


def _made(
    db: Database, purpose: str, rows: int | None, settings: dict[str, Any], *, application_name: bool = False
) -> Scratch:
    name = f"opskit_{purpose}_%s_{secrets.token_hex(4)}"
    with db.connection() as connection:
        if db.pooler:
            raise SettingError(f"DATABASE_URL leads through a pooler; give {purpose} a direct connection")
        _sweep(connection)
        # The database's clock: the one by which a later sweep judges.
        name %= first_value(connection, "SELECT extract(epoch FROM clock_timestamp())::bigint AS value")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            copied = 0 if rows is None else _copy(connection, db.settings.files, name, rows)
            made = Scratch(_inside(db.settings, name, settings, application_name=application_name), name, copied)
        except BaseException:
            connection.execute(_drop(name))
            raise
    with made.connection() as connection:
        where = first_value(connection, "SELECT current_schema() AS value")
    if where != name:
        made.close()
        raise OpskitError(f"a scratch could not be entered: the database leads to the schema {where!r}")
    return made


def _inside(settings: Settings, name: str, others: dict[str, Any], *, application_name: bool) -> Settings:
    """Settings with a connection whose only schema is the scratch: nothing real can be named by mistake.

    The rest is as by default: what is played must not depend on the house's rules, nor run its processor.
    """
    assert settings.database_url is not None  # an open database has one
    given = conninfo_to_dict(settings.database_url).get("options") or ""
    own = {"application_name": name} if application_name else {}
    url = make_conninfo(settings.database_url, options=f"{given} -csearch_path={name}".strip(), **own)
    return Settings(**{"database_url": url, "env": settings.env, "table": settings.table, **others})


def _copy(connection: Connection, files: str, name: str, rows: int) -> int:
    """Copy the application's table: its columns, constraints and newest rows; returns how many."""
    columns = _columns(connection, files)
    if not columns:
        return 0
    real, copied = sql.Identifier(files), sql.Identifier(name, files)
    migrated = any(column["column_name"] == "processing_token" for column in columns)
    light: list[sql.Identifier] = []
    changes: list[sql.Composable] = []
    for column in columns:
        identifier = sql.Identifier(column["column_name"])
        if migrated and column["column_name"].startswith("processing_"):
            changes.append(sql.SQL("DROP COLUMN {}").format(identifier))
        elif column["column_name"] == _HEAVY or column["data_type"] == "bytea":
            changes.append(sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(identifier))
        elif column["is_generated"] == "NEVER":
            light.append(identifier)
            if (column["column_default"] or "").startswith("nextval("):
                # The sequence is the real table's: a row inserted into the copy would move it.
                changes.append(sql.SQL("ALTER COLUMN {} DROP DEFAULT").format(identifier))
    with connection.transaction():
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(copied, real))
        if changes:
            connection.execute(sql.SQL("ALTER TABLE {} {}").format(copied, sql.SQL(", ").join(changes)))
        statement = sql.SQL(
            "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2} ORDER BY id DESC LIMIT %s"
        )
        done = connection.execute(statement.format(copied, sql.SQL(", ").join(light), real), (rows,))
    return done.rowcount


def _columns(connection: Connection, files: str) -> list[Row]:
    return connection.execute(
        "SELECT column_name, data_type, column_default, is_generated FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = %s ORDER BY ordinal_position",
        (files,),
    ).fetchall()


def _sweep(connection: Connection) -> None:
    """Drop the scratches of processes that were killed, once they are a day old."""
    abandoned = connection.execute(
        "SELECT nspname AS name FROM pg_namespace WHERE pg_has_role(nspowner, 'USAGE') "
        "AND substring(nspname FROM %s)::bigint < extract(epoch FROM clock_timestamp()) - %s",
        (f"^{_SCRATCH}([0-9]{{1,15}})_", _ABANDONED_SECONDS),
    ).fetchall()
    for row in abandoned:
        connection.execute(_drop(row["name"]))


def _drop(name: str) -> sql.Composed:
    return sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name))


def first_value(connection: Connection, query: str) -> Any:
    """The first row's column `value`."""
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row["value"]


@contextlib.contextmanager
def temporary_schema(settings: Settings, verb: str, **changes: Any) -> Iterator[Settings]:
    """Settings that lead to an empty scratch, for a verb that runs real nodes there.

    Args:
        settings: Whose database. Its tables are not touched.
        verb: Who works there: part of the schema's name, and of the error's sentence.
        changes: Other settings by field name.

    Raises:
        SettingError: The database is reached through a pooler.
        DatabaseError: This role may not create a schema.
    """
    with Database(settings, pooled=False) as db:
        own = {"env": "development", "table": verb, "quarantine_after": 0, **changes}
        with _made(db, verb, None, own, application_name=True) as made:
            yield made.settings
