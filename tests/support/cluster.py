"""A PostgreSQL of a test's own, to be killed, restarted, copied into a standby and robbed of its disk."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from opskit.database import embedded
from opskit.settings import Settings
from tests.support import servers

# A stretch of ports for each process of tests: a server that is down for a moment must get its port back.
# All of it is below 32768, where the system hands out ports of its own.
FIRST_PORT = 20_000 + os.getpid() % 100 * 100
# Nothing here has to survive a crash of the machine; what a killed server leaves behind goes with its folder.
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",
}


class Cluster:
    """One server with its data, on a port that it keeps over its deaths."""

    def __init__(self, home: Path, options: Mapping[str, str] | None = None, *, port: int = FIRST_PORT) -> None:
        self.home = home
        self.options = QUICK | dict(options or {})
        self._settings = Settings.load({}, home=str(home), pg_bin=servers.PG_BIN, pg_port=port)
        self.url = ""
        self.environ: dict[str, str] = {}
        self._programs: Path | None = None

    def start(self) -> str:
        """Start it, also after a kill; answers its URL, which stays the same."""
        url = embedded.start(self._settings, self.options)
        if self.url and url != self.url:
            raise AssertionError(f"the server came back as {url}, it was {self.url}")
        self.url = url
        return url

    def follow(self, primary: Cluster, name: str) -> None:
        """Start as a standby of another cluster, under a name."""
        self._programs = primary.programs
        data = self.home / primary.data.name
        data.mkdir(mode=0o700, parents=True)
        self.home.chmod(0o711)
        owner = primary.data.stat()
        os.chown(data, owner.st_uid, owner.st_gid)
        source = f"{primary.url.rpartition('/')[0]}/postgres?application_name={name}"
        done = primary.run("pg_basebackup", "-d", source, "-D", str(data), "-R", "-c", "fast")
        assert done.returncode == 0, done.stdout
        self.url = primary.url.replace(f":{primary.port}/", f":{free_port(primary.port + 1)}/")
        self.launch()

    def launch(self, addresses: str = "127.0.0.1") -> None:
        """Start it on its port, as it is, perhaps for other hosts too."""
        chosen = {"port": str(self.port), "listen_addresses": addresses, "unix_socket_directories": ""}
        words = [word for key, value in (self.options | chosen).items() for word in ("-c", f"{key}={value}")]
        self.pg_ctl("start", "-w", "-o", shlex.join(words))

    @property
    def data(self) -> Path:
        """Its data directory."""
        return next(path for path in self.home.glob("pg[0-9][0-9]")).resolve()

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.url.rpartition(":")[2].partition("/")[0])

    @property
    def postmaster(self) -> int:
        """The pid of its first process."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """A connection as its owner, in autocommit; outlives no restart."""
        return psycopg.connect(self.url, autocommit=True, row_factory=dict_row, connect_timeout=5)

    def ask(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Any statement; its rows."""
        with self.connect() as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str = "faults") -> str:
        """Make an empty database and answer its URL."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url.rpartition("/")[0] + "/" + name

    # -- deaths ------------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill -9 the postmaster; its orphaned backends see that and end by themselves, and are waited for.

        An orphan that has not been scheduled since answers one more statement.
        """
        postmaster = self.postmaster
        backends = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        os.kill(postmaster, signal.SIGKILL)
        for pid in [postmaster, *map(int, backends)]:
            _gone(pid)

    def restart_immediately(self) -> None:
        """`pg_ctl restart -m immediate`: no checkpoint, no good-bye to anybody; it recovers from its log."""
        self.pg_ctl("restart", "-m", "immediate", "-w", "-t", "60")

    def pg_ctl(self, *words: str) -> None:
        """Run pg_ctl on it, as its owner."""
        # A server started with our stdout would keep it open for its whole life.
        done = self.run("pg_ctl", *words, "-D", str(self.data), "-l", str(self.data / "server.log"))
        if done.returncode != 0:
            log = (self.data / "server.log").read_text(errors="replace").splitlines()[-5:]
            raise AssertionError(f"pg_ctl {words[0]}: {done.stdout} {log}")

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the server's own programs as the owner of its data."""
        owner = self.data.stat()
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [self.programs / program, *words],
                cwd="/",
                env=self.environ | {"PATH": os.environ["PATH"], "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
                **account,
            )
            said.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, said.read())

    @property
    def programs(self) -> Path:
        """The folder of the programs that its owner can run: those of the running server."""
        if self._programs is None:
            self._programs = Path(os.readlink(f"/proc/{self.postmaster}/exe")).parent
        return self._programs

    def backends(self) -> list[int]:
        """The pids of the backends that serve nodes."""
        rows = self.ask("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'opskit development%'")
        return [row["pid"] for row in rows]

    def wait(self, seconds: float = 30) -> None:
        """Wait until it takes statements again."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("SELECT 1")
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    # -- the end -----------------------------------------------------------------------------

    def remove(self) -> None:
        """Stop it and remove its data."""
        servers.remove(self.home)


@contextlib.contextmanager
def running_cluster(options: Mapping[str, str] | None = None, *, port: int = FIRST_PORT) -> Iterator[Cluster]:
    """A server of one's own while the block runs."""
    with own_folder() as home:
        cluster = Cluster(home / "server", options, port=port)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.remove()


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder in memory where there is one, which the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix=f"opskit-faults-{os.geteuid()}-", dir=servers.fast_folder()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port(first: int) -> int:
    """A port that nobody listens on, from *first* upwards and below the system's own."""
    import socket

    for port in itertools.count(first):
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port
    raise AssertionError


def _gone(pid: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} does not end")
