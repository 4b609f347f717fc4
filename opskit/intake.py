"""Intake: how files get into the queue."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from psycopg import sql

from opskit.database import Connection, Database
from opskit.errors import NotMigratedError, SettingError

_BATCH = 5000


def enqueue(
    db: Database,
    paths: Iterable[str | os.PathLike[str]],
    *,
    columns: Mapping[str, str] | None = None,
    skip_known: bool = False,
    say: Callable[[int], None] = lambda _: None,
) -> int:
    """Queue files: every file under the given folders, and the files and URLs given themselves.

    Args:
        db: An open database.
        paths: Files, folders (with all that is in them, hidden files left out) and fsspec URLs.
        columns: Values for other columns of the application's table, such as {"file_type": "merchant"}.
        skip_known: Leave out what is in the table already, by storage_path.
        say: Called with the number of rows queued so far.

    Returns:
        How many rows were inserted.

    Raises:
        SettingError: A path does not exist; a column is missing or needs a value. Nothing was inserted.

    After: PostgreSQL's own COPY, "Populating a Database"
    """
    found = list(expand(paths))
    columns = dict(columns or {})
    if skip_known:
        known = _known(db, [path for path, _, _ in found])
        found = [entry for entry in found if entry[0] not in known]
    if not found:
        return 0
    table = _columns_of(db)
    _check_columns(db, table, columns)
    identity = _identity(table, columns)
    names = ["original_filename", "storage_path", "file_size", "processing_status", *columns]
    if identity is not None:
        names.append("id")
    if table["uploaded_at"]["column_default"] is None and "uploaded_at" not in columns:
        names.append("uploaded_at")
    with db.connection() as connection, connection.transaction():
        now = connection.execute("SELECT now()::text AS now").fetchone()
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(db.settings.files), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with connection.cursor().copy(copy) as target:
            for count, (path, name, size) in enumerate(found, 1):
                row: list[object] = [name, path, size, "queued", *columns.values()]
                if identity is not None:
                    row.append(identity())
                if names[-1] == "uploaded_at":
                    row.append(now["now"] if now else None)
                target.write_row(row)
                if count % _BATCH == 0:
                    say(count)
    say(len(found))
    return len(found)


def expand(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[str, str, int | None]]:
    """Every file meant by *paths*, as (storage path, name, size in bytes).

    Raises:
        SettingError: There is nothing at a path.
    """
    for given in paths:
        text = os.fspath(given)
        if "://" in text:
            yield text, text.rstrip("/").rsplit("/", 1)[-1], None
            continue
        path = Path(text).expanduser()
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file() and not any(part.startswith(".") for part in inner.relative_to(path).parts):
                    yield _entry(inner)
        elif path.is_file():
            yield _entry(path)
        else:
            raise SettingError(f"there is no file or folder {text!r}")


def _entry(path: Path) -> tuple[str, str, int]:
    # Names that are not UTF-8 cannot be stored; better to say so than to lose the file.
    absolute = str(path.absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise SettingError(f"the name of {absolute!r} is not UTF-8; rename the file") from None
    return absolute, path.name, path.stat().st_size


def adopt(
    db: Database, where: str, *, actor: str, dry_run: bool = False, say: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Queue rows from before: those without a status that meet a condition, in batches.

    Args:
        db: An open database.
        where: An SQL condition on the application's table, such as "processed = false". It is the
            operator's own SQL, run with the operator's rights.
        actor: Who does it, for the history.
        dry_run: Only count.
        say: Called with (adopted so far, all).

    Returns:
        How many rows were adopted, or would be.

    SQL: sql/adopt.sql
    """
    query = sql.SQL(
        "SELECT id::text AS id FROM {} WHERE processing_status IS NULL AND deleted IS NOT TRUE AND ({}) ORDER BY id"
    ).format(sql.Identifier(db.settings.files), sql.SQL(where))
    with db.connection() as connection, connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        ids = [row["id"] for row in connection.execute(query)]
    if dry_run:
        return len(ids)
    adopted = 0
    for start in range(0, len(ids), _BATCH):
        adopted += db.one("adopt", ids=ids[start : start + _BATCH], actor=actor)["adopted"]
        say(adopted, len(ids))
    return adopted


def requeue(
    db: Database,
    ids: Iterable[str] = (),
    *,
    failed: bool = False,
    error: str = "",
    server_id: str = "",
    limit: int = 10_000,
    actor: str,
    reason: str = "",
) -> list[dict[str, object]]:
    """Queue files again that have ended, with a fresh retry budget; the history keeps the row as it was.

    Args:
        db: An open database.
        ids: These files, failed or completed.
        failed: Every failed file that *error* (as `stats.failures` groups it) and *server_id* let through.
        limit: Most rows in one call.
        actor: Who does it, for the history.
        reason: Why, for the history.

    Returns:
        The files queued, with their name and the state they were in.

    Raises:
        SettingError: Both files and *failed* were given.

    SQL: sql/requeue.sql
    """
    ids = list(ids)
    if ids and failed:
        raise SettingError("give the files, or say that every failed one is meant; not both")
    if not ids and not failed:
        return []
    return db.run(
        "requeue",
        which="failed" if failed else "ids",
        ids=ids,
        error=error,
        server_id=server_id,
        row_limit=limit,
        actor=actor,
        reason=reason,
    )


def _known(db: Database, paths: list[str]) -> set[str]:
    query = sql.SQL("SELECT storage_path FROM {} WHERE storage_path = ANY (%s) AND deleted IS NOT TRUE").format(
        sql.Identifier(db.settings.files)
    )
    with db.connection() as connection:
        return {row["storage_path"] for row in connection.execute(query, (paths,))}


def _columns_of(db: Database) -> dict[str, dict[str, str | None]]:
    """The files table's columns: type, nullability and default; an identity counts as a default."""
    with db.connection() as connection:
        rows = _information(connection, db.settings.files)
    if "processing_status" not in rows:
        raise NotMigratedError(f"{db.settings.files} is not migrated; run: opskit migrate")
    return rows


def _information(connection: Connection, table: str) -> dict[str, dict[str, str | None]]:
    query = """
        SELECT column_name, data_type, is_nullable,
               CASE WHEN is_identity = 'YES' OR is_generated = 'ALWAYS' THEN 'made by the database'
                    ELSE column_default END AS column_default
          FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = %s ORDER BY ordinal_position"""
    return {row["column_name"]: row for row in connection.execute(query, (table,))}


def _check_columns(db: Database, table: dict[str, dict[str, str | None]], columns: dict[str, str]) -> None:
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


def _identity(table: dict[str, dict[str, str | None]], columns: dict[str, str]) -> Callable[[], str] | None:
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
