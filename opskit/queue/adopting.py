"""Adopting: queues rows that were in the table before opskit, by the operator's SQL condition."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import tuple_row

from opskit.database import Database
from opskit.database.error_translation import translated
from opskit.database.session import Connection
from opskit.errors import SettingError
from opskit.queue.readiness import demand_standing
from opskit.support.progress import OnProgress, counting


@contextlib.contextmanager
def _judging(db: Database, where: str) -> Iterator[Connection]:
    """Run the operator's SQL condition in a transaction, and report its errors as SettingError."""
    with translated():
        try:
            with db.connection(translate=False) as connection, connection.transaction():
                yield connection
        except (pg.ProgrammingError, pg.DataError, pg.InternalError) as error:
            said = error.diag.message_primary or str(error)
            raise SettingError(f"the condition {where!r} cannot be used: {said}") from error


def _from_before(connection: Connection, db: Database, what: str, where: str, more: str = "") -> list[str]:
    """An aggregate over the rows that have no status and meet the condition, as text."""
    rows = sql.SQL("FROM {} WHERE processing_status IS NULL AND deleted IS NOT TRUE AND ({})").format(
        sql.Identifier(db.settings.files), sql.SQL(where)
    )
    query = sql.SQL("SELECT {}::text AS told {} {}").format(sql.SQL(what), rows, sql.SQL(more))
    return [text for (text,) in connection.cursor(row_factory=tuple_row).execute(query)]


_BATCH = 5000


def adopt(
    db: Database,
    where: str,
    *,
    actor: str = "",
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> int:
    """Queue rows from before: those without a status that meet a condition, in batches.

    Args:
        db: An open database.
        where: An SQL condition on the application's table, such as "processed = false". It is the
            operator's own SQL, run with the operator's rights.
        actor: Who does it, for the history. Defaults to the connection's.
        dry_run: Only count.
        on_progress: Called with a Progress after each batch of rows. Defaults to a bar in a notebook, elsewhere to
            nothing.

    Returns:
        How many rows were adopted, or would be.

    Raises:
        SettingError: The condition is no SQL that PostgreSQL takes.
        NotMigratedError: The table is not migrated.
        ForbiddenError: The database is read-only.

    SQL: sql/adopt.sql
    """
    demand_standing(db)
    if not dry_run:
        db.writing()
    with _judging(db, where) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        (count,) = _from_before(connection, db, "count(*)", where)
    if dry_run:
        return int(count)
    adopted, following = 0, ""
    with counting("adopting", "row", total=int(count), on_progress=on_progress) as told:
        while True:
            # One transaction chooses the rows and queues them: a change that the application commits meanwhile counts.
            with _judging(db, where) as connection:
                connection.execute("SET LOCAL enable_sort = off")  # a batch is a stretch of the primary key
                more = f"{following} ORDER BY id LIMIT {_BATCH} FOR NO KEY UPDATE"
                ids = _from_before(connection, db, "id", where, more)
                if not ids:
                    return adopted
                adopted += db.run_on(connection, "adopt", ids=ids, actor=actor or db.actor)[0]["adopted"]
            following = sql.SQL("AND id > {}").format(ids[-1]).as_string()
            told(adopted)
