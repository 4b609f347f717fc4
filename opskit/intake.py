"""Intake: how files get into the queue."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from psycopg import errors as pg
from psycopg import sql
from psycopg.rows import tuple_row

from opskit.database import Connection, Database, Row, as_text, translated
from opskit.errors import DatabaseError, SettingError
from opskit.listing import Entry, expand
from opskit.notebook_bar import notebook_bar
from opskit.standing import demand_standing
from opskit.storage import Stored, arriving, keep

_BATCH = 5000
_REQUEUED = 10_000
_log = logging.getLogger(__name__)


def enqueue(
    db: Database,
    paths: Iterable[str | os.PathLike[str]],
    *,
    columns: Mapping[str, str] | None = None,
    skip_known: bool = False,
    say: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Queue files: every file under the given folders, and the files and URLs given themselves.

    Args:
        db: An open database.
        paths: Files, folders (with all that is in them, hidden files and links that lead out of them left out) and
            fsspec URLs.
        columns: Values for other columns of the application's table, such as {"file_type": "merchant"}.
        skip_known: Leave out what is in the table already, by storage_path.
        say: Called with the number of rows queued so far. Defaults to a bar in a notebook, elsewhere to nothing.
        tell: Called with a sentence where links were left out, or the table has not taken every row. Defaults to
            the log.

    Returns:
        How many rows were inserted.

    Raises:
        SettingError: A path does not exist or cannot be read; a column is missing or needs a value.
            Nothing was inserted.
    """
    db.writing()
    found = list(expand(paths, tell=tell or _log.warning))
    if found:
        with db.connection():  # what the database can hold is known once there is a connection
            pass
    for path, name, _ in found:
        _check_held(db, path)
        _check_held(db, name)
    if skip_known:
        known = _known(db, [path for path, _, _ in found])
        found = [entry for entry in found if entry[0] not in known]
    return insert(db, found, columns=columns, say=say, tell=tell) if found else 0


def insert(
    db: Database,
    rows: Iterable[Entry],
    *,
    columns: Mapping[str, str] | None = None,
    say: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Queue files that are where they belong, in one transaction; nothing is looked at.

    Args:
        db: An open database.
        rows: Each file as (storage path, name, size in bytes or None).
        columns: Values for other columns of the application's table.
        say: Called with the number of rows queued so far. Defaults to a bar in a notebook, elsewhere to nothing.
        tell: Called with a sentence where the table has not taken every row. Defaults to the log.

    Returns:
        How many rows were inserted, as PostgreSQL says: a trigger of the table may keep some out.

    Raises:
        SettingError: A column is missing or needs a value. Nothing was inserted.

    After: PostgreSQL's own COPY, "Populating a Database"
    """
    db.writing()
    form = _form(db, columns or {})
    for value in (columns or {}).values():
        _check_held(db, value)
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(db.settings.files), form.names)
    count = 0
    with notebook_bar("queueing", "files", say=say) as told:
        with db.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(command) as target:
                for count, row in enumerate(rows, 1):
                    _check_held(db, row[0])
                    _check_held(db, row[1])
                    target.write_row(form.filled(row))
                    if count % _BATCH == 0:
                        told(count)
            taken = cursor.rowcount
        told(taken)
    if taken != count:
        kept_out = "a BEFORE INSERT trigger of the table keeps the others out"
        (tell or _log.warning)(f"{db.settings.files} has taken {taken} of {count} files: {kept_out}")
    return taken


def upload(
    db: Database,
    files: Iterable[tuple[str | None, BinaryIO]],
    *,
    columns: Mapping[str, str] | None = None,
    limit_bytes: int,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Store what was uploaded and queue it: all files, or none.

    A file is a duplicate when one with the same bytes is in the table: an upload, by the path it is kept
    under, or any file whose result says the same sha256. Two uploads of the same bytes at the same time
    wait for one another; one of them is the duplicate.

    Args:
        db: An open database; its settings say where files are kept.
        files: Each as (what its uploader calls it, its bytes).
        columns: Values for other columns of the application's table.
        limit_bytes: Most bytes of one file.
        again: Queue duplicates, too. Defaults to False.

    Returns:
        For each file: id (text; None for a duplicate that was not queued), original_filename, file_size
        [bytes], sha256 (hex), duplicate_of (id of the file that it is a duplicate of; None when it is new).

    Raises:
        SettingError: A column is missing or needs a value.
        DatabaseError: PostgreSQL refused a row, or a trigger of the table has kept it out.
        TooLargeError: A file is larger than *limit_bytes*.
        OpskitError: The storage failed.
        DatabaseUnavailableError: No answer. After any error nothing is queued, unless the database was lost
            in the very commit; then the bytes are kept for the rows that it may have made.
    """
    db.writing()
    form = _form(db, columns or {})  # first: what cannot be queued need not be stored
    with contextlib.ExitStack() as until_the_end:
        arrived = [
            until_the_end.enter_context(arriving(db.settings, name, stream, limit_bytes=limit_bytes))
            for name, stream in files
        ]
        with db.connection() as connection, connection.transaction():
            known = _same_bytes(connection, db.settings.files, [one.stored for one in arrived])
            answers, needed = [], []
            for one in arrived:
                file = one.stored
                _check_held(db, file.path)
                answer = {"original_filename": file.name, "file_size": file.size, "sha256": file.sha256}
                first = known.get(file.sha256)
                id = None
                if first is None or again:
                    id = _insert_one(connection, db.settings.files, form, (file.path, db.fitting(file.name), file.size))
                    known.setdefault(file.sha256, {"id": id, "storage_path": file.path})
                if id is not None or (first and first["storage_path"] == file.path):
                    # Once more for a row that has it already: somebody may have tidied its bytes away.
                    needed.append(one)
                answers.append({"id": id, **answer, "duplicate_of": first["id"] if first else None})
            # Last, so that nothing but the commit can fail after it, and while others who bring the same wait.
            keep({one.stored.path: one for one in needed}.values())
        return answers


def _check_held(db: Database, text: str) -> None:
    """See that the database's encoding can hold a text that has to come back as it is: a path must lead to its file."""
    if db.fitting(text) != text:
        raise SettingError(f"{text!r} cannot be stored: the database's encoding is {db.encoding}; use another name")


@contextlib.contextmanager
def _judging(db: Database, where: str) -> Iterator[Connection]:
    """A transaction in which an operator's own condition is used; what it does not survive is told as a sentence."""
    with translated():
        try:
            with db.connection(translate=False) as connection, connection.transaction():
                yield connection
        except (pg.ProgrammingError, pg.DataError, pg.InternalError) as error:
            said = error.diag.message_primary or str(error)
            raise SettingError(f"the condition {where!r} cannot be used: {said}") from error


def _from_before(connection: Connection, db: Database, what: str, where: str, more: str = "") -> list[str]:
    """Something of the rows without a status that meet a condition, as text."""
    rows = sql.SQL("FROM {} WHERE processing_status IS NULL AND deleted IS NOT TRUE AND ({})").format(
        sql.Identifier(db.settings.files), sql.SQL(where)
    )
    query = sql.SQL("SELECT {}::text AS told {} {}").format(sql.SQL(what), rows, sql.SQL(more))
    return [text for (text,) in connection.cursor(row_factory=tuple_row).execute(query)]


def adopt(
    db: Database, where: str, *, actor: str, dry_run: bool = False, say: Callable[[int, int], None] | None = None
) -> int:
    """Queue rows from before: those without a status that meet a condition, in batches.

    Args:
        db: An open database.
        where: An SQL condition on the application's table, such as "processed = false". It is the
            operator's own SQL, run with the operator's rights.
        actor: Who does it, for the history.
        dry_run: Only count.
        say: Called with (adopted so far, all). Defaults to a bar in a notebook, elsewhere to nothing.

    Returns:
        How many rows were adopted, or would be.

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
    with notebook_bar("adopting", "rows", total=int(count), say=say) as told:
        while True:
            # Chosen and queued in one transaction: what the application has done with a row meanwhile counts.
            with _judging(db, where) as connection:
                connection.execute("SET LOCAL enable_sort = off")  # a batch is a stretch of the primary key
                more = f"{following} ORDER BY id LIMIT {_BATCH} FOR NO KEY UPDATE"
                ids = _from_before(connection, db, "id", where, more)
                if not ids:
                    return adopted
                adopted += db.run_on(connection, "adopt", ids=ids, actor=actor)[0]["adopted"]
            following = sql.SQL("AND id > {}").format(ids[-1]).as_string()
            told(adopted)


def requeue(
    db: Database,
    ids: Iterable[str] = (),
    *,
    failed: bool = False,
    error: str = "",
    server_id: str = "",
    limit: int | None = None,
    actor: str,
    reason: str = "",
) -> list[dict[str, object]]:
    """Queue files again that have ended, with a fresh retry budget; the history keeps the row as it was.

    Args:
        db: An open database.
        ids: These files, failed or completed.
        failed: Every failed file that *error* (as `stats.failures` groups it) and *server_id* let through.
        limit: Most rows. Defaults to all, which are queued in batches: what is queued stays so if a later one fails.
        actor: Who does it, for the history.
        reason: Why, for the history.

    Returns:
        The files queued, with their name and the state they were in.

    Raises:
        SettingError: Both files and *failed* were given.

    SQL: sql/requeue.sql
    """
    db.writing()
    ids = list(ids)
    if ids and failed:
        raise SettingError("give the files, or say that every failed one is meant; not both")

    def batch(rows: int, which: str, *, ids: Sequence[str] = (), before: str = "") -> list[Row]:
        return db.run(
            "requeue", which=which, ids=list(ids), error=error, server_id=server_id, row_limit=rows, before=before,
            actor=actor, reason=reason,
        )  # fmt: skip

    queued: list[dict[str, object]] = []
    left = math.inf if limit is None else limit
    for start in range(0, len(ids), _REQUEUED):
        if left > len(queued):
            queued += batch(int(min(left - len(queued), _REQUEUED)), "ids", ids=ids[start : start + _REQUEUED])
    # What fails again meanwhile has failed after we began.
    began = _clock(db) if failed else ""
    while failed and left > len(queued):
        rows = int(min(left - len(queued), _REQUEUED))
        found = batch(rows, "failed", before=began)
        queued += found
        failed = len(found) == rows
    return queued


def _clock(db: Database) -> str:
    with db.connection() as connection:
        row = connection.execute("SELECT clock_timestamp()::text AS now").fetchone()
    assert row is not None
    return str(row["now"])


def _known(db: Database, paths: list[str]) -> set[str]:
    query = sql.SQL("SELECT storage_path FROM {} WHERE storage_path = ANY (%s) AND deleted IS NOT TRUE").format(
        sql.Identifier(db.settings.files)
    )
    with db.connection() as connection:
        return {row["storage_path"] for row in connection.execute(query, (paths,))}


def _same_bytes(connection: Connection, table: str, files: Sequence[Stored]) -> dict[str, Row]:
    """The files of the table that have the same bytes, by sha256: of several, the one that came first.

    Held until the transaction ends: whoever brings the same bytes now, waits. A statement of its own, so that
    the next one sees what they have committed.
    """
    if not files:
        return {}
    connection.execute(
        "SELECT pg_advisory_xact_lock(key) FROM (SELECT pg_catalog.unnest(%s::bigint[]) AS key ORDER BY 1) AS keys",
        (sorted({int(file.sha256[:15], 16) for file in files}),),
    )
    # By the place without its extension, which is the uploader's: the same bytes may be called .csv and .txt.
    stems = {file.path[: file.path.rindex(file.sha256) + 64] for file in files}
    values = {
        "length": len(min(stems)),
        "stems": list(stems),
        "sums": [file.sha256 for file in files],
        # As text without a type: the application's column may be of any.
        "sizes": as_text(sorted({file.size for file in files})),
    }
    try:
        with connection.transaction():
            rows = connection.execute(sql.SQL(_SAME_BYTES).format(sql.Identifier(table)), values).fetchall()
    except pg.QueryCanceled:
        # Better twice than not at all.
        _log.warning("%s is too large to be searched for duplicates of an upload in time", table)
        return {}
    return {row["sha256"]: row for row in rows}


# One pass over the table, judged by the size first: 0.3 s for two million rows.
_SAME_BYTES = """
    SELECT DISTINCT ON (sha256) *
      FROM (SELECT id::text AS id, storage_path, uploaded_at,
                   CASE WHEN left(storage_path::text, %(length)s) = ANY (%(stems)s)
                        THEN substr(storage_path::text, %(length)s - 63, 64)
                        ELSE processing_result ->> 'sha256' END AS sha256
              FROM {}
             WHERE deleted IS NOT TRUE AND file_size = ANY (%(sizes)s)
               AND (left(storage_path::text, %(length)s) = ANY (%(stems)s)
                    OR processing_result ->> 'sha256' = ANY (%(sums)s))) AS found
     ORDER BY sha256, uploaded_at, id"""


@dataclass(frozen=True, slots=True)
class _Form:
    """What a new row is made of: its columns, and their values beside the file's own."""

    names: sql.Composed
    fixed: tuple[str, ...]
    identity: Callable[[], str] | None

    def filled(self, row: Entry) -> tuple[object, ...]:
        return (*row, *self.fixed) if self.identity is None else (*row, *self.fixed, self.identity())


def _form(db: Database, columns: Mapping[str, str]) -> _Form:
    demand_standing(db)
    table = _columns_of(db)
    _check_columns(db, table, columns)
    identity = _identity(table, columns)
    fixed = {"processing_status": "queued", **columns}
    if table["uploaded_at"]["column_default"] is None and "uploaded_at" not in columns:
        with db.connection() as connection:
            now = connection.execute("SELECT now()::text AS now").fetchone()
        assert now is not None
        fixed["uploaded_at"] = now["now"]
    names = ["storage_path", "original_filename", "file_size", *fixed, *(["id"] if identity else [])]
    return _Form(sql.SQL(", ").join(map(sql.Identifier, names)), tuple(fixed.values()), identity)


def _insert_one(connection: Connection, table: str, form: _Form, row: Entry) -> str:
    values = [as_text(value) for value in form.filled(row)]
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id::text AS id, processing_status AS status").format(
        sql.Identifier(table), form.names, sql.SQL(", ").join([sql.Placeholder()] * len(values))
    )
    made = connection.execute(query, values).fetchone()
    if made is None or made["status"] != "queued":
        did = "keeps its row out" if made is None else f"makes its processing_status {made['status']!r}, not 'queued'"
        raise DatabaseError(f"{row[1]!r} cannot be queued: a trigger of {table} {did}; nothing was queued")
    return str(made["id"])


def _columns_of(db: Database) -> dict[str, dict[str, str | None]]:
    """The files table's columns: type, nullability and default; an identity counts as a default."""
    query = """
        SELECT column_name, data_type, is_nullable,
               CASE WHEN is_identity = 'YES' OR is_generated = 'ALWAYS' THEN 'made by the database'
                    ELSE column_default END AS column_default
          FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = %s ORDER BY ordinal_position"""
    with db.connection() as connection:
        return {row["column_name"]: row for row in connection.execute(query, (db.settings.files,))}


def _check_columns(db: Database, table: dict[str, dict[str, str | None]], columns: Mapping[str, str]) -> None:
    for name in columns:
        if name not in table:
            raise SettingError(f"{db.settings.files} has no column {name!r}")
        if name.startswith("processing_") or name in ("original_filename", "storage_path", "file_size"):
            raise SettingError(f"{name} is set by opskit itself; it cannot be given")
    given = {*columns, "id", "original_filename", "storage_path", "file_size", "processing_status", "uploaded_at"}
    needy = [
        name
        for name, column in table.items()
        if column["is_nullable"] == "NO" and column["column_default"] is None and name not in given
    ]
    if needy:
        raise SettingError(
            f"{db.settings.files}.{needy[0]} needs a value; say for example: opskit enqueue --set {needy[0]}=… PATH"
        )


def _identity(table: dict[str, dict[str, str | None]], columns: Mapping[str, str]) -> Callable[[], str] | None:
    """How a new row gets its id when neither the database nor the caller gives one."""
    column = table["id"]
    if column["column_default"] is not None or "id" in columns:
        return None
    if column["data_type"] in ("text", "uuid", "character varying", "character"):
        return lambda: str(uuid.uuid4())
    raise SettingError(
        f"the column id is {column['data_type']} without a default; say which id the file gets: "
        "opskit enqueue --set id=… PATH"
    )
