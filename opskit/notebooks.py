"""The notebooks: take them out of the package, open them, and what they need to be tried without harm.

    copy, open_lab   the files themselves
    welcome          an embedded database that is empty gets the sample files, processed by two real nodes
    scratch          a schema of its own in the same database, where anything may be played; close() drops it
    work             real nodes, until the queue is empty

A scratch is a schema, not another table name: the nodes, events and pauses of an environment are one set,
and a rollback on a scratch table beside the real one would drop them.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from opskit import embedded, intake, schema
from opskit.database import Connection, Database, Row
from opskit.errors import EmbeddedServerError, MissingExtraError, OpskitError, SettingError
from opskit.listing import expand
from opskit.settings import Settings

# Figures travel as data, which JupyterLab and VS Code draw; plotly's own choice would put 4 MB of script into
# every notebook. Plotly reads this when it draws its first figure.
os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype")

_HERE = Path(__file__).parent
FOLDER = next((path for path in (_HERE / "_notebooks", _HERE.parent / "notebooks") if path.is_dir()), _HERE)
SAMPLES = next((path for path in (_HERE / "_samples", _HERE.parent / "samples") if path.is_dir()), _HERE)

_VARIABLES = {field.metadata["env"] for field in dataclasses.fields(Settings)}
_SCRATCH = "opskit_scratch_"
_ABANDONED_SECONDS = 86400
_HEAVY = "file_content"


# -- the files -------------------------------------------------------------------------------


def copy(folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Copy the notebooks into a folder, which is made if it is missing.

    Args:
        folder: Where they shall lie.
        overwrite: Replace those that are there already. Defaults to keeping them: they may hold work.

    Returns:
        The notebooks that were written, by name.

    Raises:
        OpskitError: The folder cannot be written.
    """
    target = Path(folder).expanduser()
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted(FOLDER.glob("*.ipynb")):
            place = target / source.name
            if overwrite or not place.exists():
                shutil.copyfile(source, place)
                written.append(place)
    except shutil.SameFileError:
        raise OpskitError(f"{str(target)!r} is where the notebooks come from; name another folder") from None
    except OSError as error:
        raise OpskitError(f"the notebooks cannot be copied to {str(target)!r}: {error.strerror}") from error
    return written


def open_lab(folder: str | os.PathLike[str], settings: Settings | None = None) -> int:
    """Copy the notebooks into a folder, open it in JupyterLab, and stay until that ends.

    Args:
        folder: Where they lie or shall lie.
        settings: Which database they open by themselves. Defaults to the environment's.

    Returns:
        JupyterLab's exit code.

    Raises:
        MissingExtraError: JupyterLab is not installed.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtraError("JupyterLab", "notebooks")
    settings = settings or Settings.load()
    copy(folder)
    # A kernel works in its notebook's folder: a relative home would be another server there.
    settings = dataclasses.replace(settings, home=str(settings.home_path))
    # Ctrl-C is JupyterLab's, which asks back: a handler that does nothing is not inherited.
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        command = [sys.executable, "-P", "-m", "jupyterlab", str(Path(folder).expanduser())]
        return subprocess.call(command, env={**os.environ, **settings.environ()})
    finally:
        signal.signal(signal.SIGINT, previous)


# -- real numbers at once --------------------------------------------------------------------


def welcome(db: Database) -> int:
    """Give an empty embedded database of development the sample files, and have two real nodes process them.

    Any other database, the tables of production, and an embedded database that has files are left as they are. The
    nodes run the built-in processor with times as by default, whatever the settings say. What was done is printed.

    Args:
        db: An open database.

    Returns:
        How many files were processed.
    """
    if db.settings.env != "development" or not _is_embedded(db):
        return 0
    # A connection of its own: the lock ends with it. Who comes second waits, and finds the files.
    with Database(db.settings, pooled=False) as alone, alone.connection() as connection:
        # Asked again and again: the snapshot of who waits inside the server would keep an index from being finished.
        while not _first(connection, "SELECT pg_try_advisory_lock(hashtext('opskit notebooks welcome')) AS value"):
            time.sleep(0.1)
        if schema.exists(db, "files") and db.run("any_file"):
            return 0
        migrated = schema.check(db)
        if not migrated:
            schema.migrate(db)
        count = intake.enqueue(db, samples(), skip_known=True)
        _work(_as_by_default(db.settings), ["notebook-a", "notebook-b"], max_files=(count + 1) // 2)
    made = "" if migrated else "was migrated, "
    print(f"{db.settings.files} (development) {made}got {count} sample files, and two nodes processed them")
    return count


def url_in(variable: str) -> str | None:
    """The URL of a database that an environment variable holds.

    A notebook takes the variable's name as its parameter: papermill writes parameters into the notebook that it makes.

    Args:
        variable: Its name; "" for none.

    Returns:
        What it holds; None for no name.

    Raises:
        SettingError: It is not set.
    """
    if not variable:
        return None
    url = os.environ.get(variable, "").strip()
    if not url:
        raise SettingError(f"database_env is {variable!r}, and there is no such environment variable, or it is empty")
    return url


def samples() -> list[str]:
    """The sample files' paths."""
    return [path for path, name, _ in expand([SAMPLES]) if name != "README.md"]


def work(db: Database, *names: str, max_files: int | None = None) -> list[dict[str, Any]]:
    """Run real nodes, each a process of its own, until the queue is empty.

    Args:
        db: An open database.
        names: Their server IDs.
        max_files: Most files for each of them. Defaults to no limit.

    Returns:
        What each node says at its end: serverId, completed, failed, retried and more.

    Raises:
        OpskitError: A node ended in error.
    """
    return _work(db.settings, names, max_files=max_files)


def _work(settings: Settings, names: Sequence[str], *, max_files: int | None) -> list[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "opskit.worker", "--drain", "--json"]
    # Settings that are unset here must not come from the shell.
    outside = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    if max_files is not None:
        command += ["--max-files", str(max_files)]
    with contextlib.ExitStack() as stack:
        started = []
        for name in names:
            environ = dataclasses.replace(settings, node_id=name).environ()
            log = stack.enter_context(tempfile.TemporaryFile("w+"))  # a pipe that nobody reads would stop the node
            node = subprocess.Popen(
                command,
                env={**outside, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.enter_context(node)  # waits for its end
            stack.callback(node.terminate)  # which an interrupt brings about
            started.append((name, node, log))
        return [_summary(*one) for one in started]


def _summary(name: str, node: subprocess.Popen[str], log: IO[str]) -> dict[str, Any]:
    said, _ = node.communicate()
    if node.returncode:
        log.seek(0)
        raise OpskitError(": ".join([f"{name} ended with exit code {node.returncode}", *log.read().splitlines()[-1:]]))
    answer: dict[str, Any] = json.loads(said)
    return answer


def _as_by_default(settings: Settings) -> Settings:
    """Settings that lead to the same tables, and are otherwise as by default: nobody's own processor runs."""
    return Settings(
        database_url=settings.database_url, env=settings.env, table=settings.table, home=str(settings.home_path)
    )


def _is_embedded(db: Database) -> bool:
    try:
        return embedded.url(db.settings) == db.settings.database_url
    except EmbeddedServerError:
        return False


# -- a place to play -------------------------------------------------------------------------


class Scratch(Database):
    """A database whose tables lie in a schema of their own; `close` drops it, and so does the end of the process.

    Attributes:
        schema: Its name.
        copied: Rows copied from the real table.
    """

    def __init__(self, settings: Settings, schema: str, copied: int = 0) -> None:
        super().__init__(settings)
        self.schema, self.copied = schema, copied
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

    Args:
        db: An open database.
        rows: Copy the files table as the application made it, without what opskit added and without the files'
            contents, and this many of its newest rows. Defaults to None: the schema begins empty.
        settings: Other settings by field name, such as lease_seconds=10.

    Raises:
        OpskitError: A connection pooler stands between; it may lead a statement to the real tables.
        DatabaseError: The database's user may not create schemas.
    """
    name = f"{_SCRATCH}%s_{secrets.token_hex(4)}"
    with db.connection() as connection:
        if db.pooler:
            raise OpskitError("a scratch needs a direct connection, and DATABASE_URL leads to a pooler")
        _sweep(connection)
        # The database's clock: the one by which a later sweep judges.
        name %= _first(connection, "SELECT extract(epoch FROM clock_timestamp())::bigint AS value")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            copied = 0 if rows is None else _copy(connection, db.settings.files, name, rows)
            made = Scratch(_inside(db.settings, name, settings), name, copied)
        except BaseException:
            connection.execute(_drop(name))
            raise
    with made.connection() as connection:
        where = _first(connection, "SELECT current_schema() AS value")
    if where != name:
        made.close()
        raise OpskitError(f"a scratch could not be entered: the database leads to the schema {where!r}")
    return made


def _inside(settings: Settings, name: str, others: dict[str, Any]) -> Settings:
    """Settings with a connection whose only schema is the scratch: nothing real can be named by mistake.

    The rest is as by default: what is played must not depend on the house's rules, nor run its processor.
    """
    assert settings.database_url is not None  # an open database has one
    given = conninfo_to_dict(settings.database_url).get("options") or ""
    url = make_conninfo(settings.database_url, options=f"{given} -csearch_path={name}".strip())
    return Settings(**{"database_url": url, "env": settings.env, "table": settings.table, **others})


def _copy(connection: Connection, files: str, name: str, rows: int) -> int:
    """Copy the application's table: its columns, constraints and newest rows; answers how many."""
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


def _first(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row["value"]
