"""PostgreSQL for the tests: one embedded server per test process, one database per test."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import psycopg
from psycopg import sql

from opskit.database import embedded
from opskit.settings import Settings

# Nothing here has to survive a crash of the machine; a crash of the server loses nothing either way.
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "max_prepared_transactions": "4",
}
FIRST_PORT = 16433  # below 32768, where the system hands out ports of its own
PG_BIN = os.environ.get("OPSKIT_PG_BIN") or None  # read before the environment is cleaned
# A migrated database on a server that runs already, for who runs the tests hundreds of times (tests/mutants).
SHARED = os.environ.get("TESTS_DATABASE") or None

TRANSACTION = "SELECT pg_current_xact_id()::xid::text"


@dataclass(frozen=True)
class Server:
    """A running server, for tests to make databases on."""

    url: str
    _kept: list[psycopg.Connection[Any]] = field(default_factory=list)
    _left: list[str] = field(default_factory=list)

    def run(self, statement: sql.Composed) -> None:
        """Run a statement on the server's own database, over one connection for all tests."""
        try:
            self._connection().execute(statement)
        except psycopg.OperationalError:
            if not self._kept[0].closed:
                raise
            self._connection().execute(statement)  # a test had ended all sessions of the server

    def transaction(self) -> str:
        """The number of a transaction that is younger than all before."""
        (found,) = self._connection().execute(TRANSACTION.encode())
        return str(found[0])

    def _connection(self) -> psycopg.Connection[Any]:
        if not self._kept or self._kept[0].closed:
            self._kept[:] = [psycopg.connect(self.url, autocommit=True)]
        return self._kept[0]

    def close(self) -> None:
        """Drop what is left, and close that connection."""
        for url in self._left:
            self.drop_database(url)
        self._left.clear()
        for connection in self._kept:
            connection.close()
        self._kept.clear()

    def ease_passwords(self) -> None:
        """Store the password with one round of hashing: 4096 cost each client 2 ms at each of thousands of sign-ins."""
        connection = self._connection()
        if connection.info.server_version >= 160000:
            connection.execute("SET scram_iterations = 1")
            words = sql.SQL("ALTER ROLE {} PASSWORD {}")
            self.run(words.format(sql.Identifier(connection.info.user), sql.Literal(connection.info.password)))

    def lighten_template(self) -> None:
        """Remove what PostgreSQL makes again by itself from template1, right after the start: 74 of 300 files to copy.

        These are maps of free space and of visible pages. Nobody has been connected to template1 yet.
        """
        query = b"SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = 'template1'"
        (found,) = self._connection().execute(query)
        for file in (Path(found[0]) / "base" / str(found[1])).iterdir():
            if file.name.endswith(("_fsm", "_vm")):
                file.unlink()
        # The first session leaves a file with what each session reads when it begins.
        psycopg.connect(self.url.rpartition("/")[0] + "/template1").close()

    def create_database(self, template: str = "template1") -> str:
        """Make a database as a copy of *template*, to which nobody may be connected, and return its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        command = "CREATE DATABASE {} TEMPLATE {}"
        if self._connection().info.server_version >= 150000:
            command += " STRATEGY file_copy"  # without it each database goes through the log: 7 MB
        self.run(sql.SQL(command).format(sql.Identifier(name), sql.Identifier(template)))
        return self.url.rpartition("/")[0] + "/" + name

    def drop_database(self, url: str) -> None:
        """Drop a database and end its connections; what cannot be dropped goes with the server."""
        name = sql.Identifier(url.rpartition("/")[2])
        with contextlib.suppress(psycopg.Error):
            self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def leave_database(self, url: str) -> None:
        """End a database's connections, and drop it when the next one is left.

        To drop it at once takes 100 ms more whenever one of its backends is still ending.
        """
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
        with contextlib.suppress(psycopg.Error):
            self.run(sql.SQL(query).format(sql.Literal(url.rpartition("/")[2])))
        while self._left:
            self.drop_database(self._left.pop())
        self._left.append(url)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Start a server for this test process; stop and remove it at the end."""
    if SHARED:
        with contextlib.closing(Server(SHARED.rpartition("/")[0] + "/opskit")) as shared:
            yield shared
        return
    with _own_folder() as home:
        settings = Settings.load({}, home=str(home), pg_bin=PG_BIN, pg_port=FIRST_PORT)
        try:
            server = Server(embedded.start(settings, FAST))
            server.lighten_template()
            server.ease_passwords()
            yield server
            server.close()
        finally:
            remove(home)


def remove(home: Path) -> None:
    """Stop the server of a home folder and remove the folder with all that it links to."""
    if home.exists():
        embedded.stop(Settings.load({}, home=str(home)))
        for link in home.iterdir():
            if link.is_symlink():
                shutil.rmtree(link.resolve().parent)
        shutil.rmtree(home)


def fast_folder() -> Path:
    """A folder in memory where there is one with room, else the one for temporary files."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    return memory if roomy else Path(tempfile.gettempdir())


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder that no other test process has; what killed ones left behind is cleared away first.

    A folder belongs to whoever holds the lock beside it, and the system ends a lock with its process.
    """
    prefix = f"opskit-tests-{os.geteuid()}-"
    for leftover in fast_folder().glob(f"{prefix}*.lock"):
        with _held(leftover) as held:
            if held:
                remove(leftover.with_suffix(""))
    for number in itertools.count():
        home = fast_folder() / f"{prefix}{number}"
        with _held(home.with_name(f"{home.name}.lock")) as held:
            if held:
                remove(home)
                yield home
                return


@contextlib.contextmanager
def _held(path: Path) -> Iterator[TextIO | None]:
    """The lock of a file, or None when another process has it."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file
