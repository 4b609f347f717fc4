"""The database: the statements of `sql/`, and errors in one sentence.

One `Database` serves everything a process does. It is pooled, for readers with many threads, or it is
one connection of its own, for a node.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.pq import ExecStatus
from psycopg.rows import tuple_row

from opskit.database import database_url, queries
from opskit.database.cache import Cache
from opskit.database.connections import Connections
from opskit.database.error_translation import READ_ONLY, translation
from opskit.database.session import Connection, Row, fitting
from opskit.database.sql_variables import Statement
from opskit.database.text_values import as_text
from opskit.errors import ForbiddenError, MissingExtraError, NotMigratedError
from opskit.settings import Settings
from opskit.support import notebook_output
from opskit.support.actor import person
from opskit.support.logs import masked

_SHOWN_SECONDS = 2.0  # how long a notebook waits for the numbers of an open database
_HOLD_ANYTHING = (None, "UTF8", "SQL_ASCII")


class Database(Connections):
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
            url = database_url.understood(settings.database_url)
        super().__init__(
            url,
            dataclasses.replace(settings, database_url=url),
            pooled=pooled,
            statement_seconds=statement_seconds,
            node=node,
            name=name,
        )
        self.actor = actor.strip() or person()
        self.cache = Cache()
        self._given = {"pooled": pooled, "statement_seconds": statement_seconds, "node": node, "name": name}
        self._given["actor"] = actor
        self._texts: dict[str, tuple[Statement, bytes]] = {}
        self._asked: dict[str, tuple[Statement, bytes, dict[str, bool]]] = {}

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
        """Check that this database may be written to: the first line of every function that writes.

        Raises:
            ForbiddenError: It is read-only (`read_only=True`, OPSKIT_READ_ONLY=1).
        """
        if self.settings.read_only:
            raise ForbiddenError(READ_ONLY)

    def fitting(self, text: str) -> str:
        """*text* as the database's encoding can hold it: "→" becomes "<U+2192>" in LATIN1."""
        return fitting(text, self.encoding)

    def rename(self, **names: str) -> None:
        """Adopt names that only the database knows, such as the lanes' column; statements are composed again."""
        if all(self.names.get(key) == name for key, name in names.items()):
            return
        was_known = "lane" in names and "lane" in self.names
        self.names.update(names)
        self._texts.clear()
        self._asked.clear()
        if was_known:
            # What it has prepared is of the old name.
            self.drop_connection()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same database anew."""
        return _again, (self.settings, self._given)

    # -- statements --------------------------------------------------------------------------

    def run(self, name: str, /, **values: object) -> list[Row]:
        """Run the one statement of `sql/<name>.sql` and return its rows.

        Args:
            name: The file's name without ".sql".
            values: Its variables; True, None, numbers, lists of text and mappings (JSON) are sent as text. What psql
                leaves empty may be left out: a filter that is not given lets everything through.

        Raises:
            DatabaseUnavailableError: No answer; the statement may or may not have been done.
            DatabaseError: PostgreSQL refused it.
            NotMigratedError: A table or column is missing.
        """
        with self.connection() as connection:
            return self.run_on(connection, name, **values)

    def one(self, name: str, /, **values: object) -> Row:
        """Run a statement that always returns one row."""
        return self.run(name, **values)[0]

    def run_on(self, connection: Connection, name: str, /, **values: object) -> list[Row]:
        """Run a statement on a given connection, perhaps within its transaction."""
        statement, text = self._text(name)
        for known in statement.values & self.names.keys():
            values.setdefault(known, self.names[known])
        if values.keys() != statement.values:
            empty = queries.unfiltered(name)
            values = {known: empty[known] for known in statement.values & empty.keys()} | values
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
        """Run a statement that returns one row or none over the own connection, without the driver's cursor.

        For the node's hot path; see `NodeConnection.ask`.

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

    def _text(self, name: str) -> tuple[Statement, bytes]:
        found = self._texts.get(name)
        if found is None:
            statement = queries.statement(name)
            found = self._texts[name] = (
                statement,
                fitting(statement.compose(self.names).as_string(), self.encoding).encode(),
            )
        return found

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


def _again(settings: Settings, given: dict[str, Any]) -> Database:
    return Database(settings, **given)
