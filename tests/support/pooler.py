"""A PgBouncer in transaction mode before a test's database."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from opskit.database import Database
from tests.support.cluster import FIRST_PORT, free_port, own_folder
from tests.support.nodes import until

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")


class Pooler:
    """A PgBouncer in transaction mode before one database."""

    def __init__(self, url: str, folder: Path) -> None:
        parts = urlsplit(url)
        self.port = free_port(FIRST_PORT + 30)
        self.url = f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{self.port}{parts.path}"
        self._ini = folder / "pgbouncer.ini"
        users = folder / "users.txt"
        users.write_text(f'"{parts.username}" "{parts.password}"\n')
        self._ini.write_text(
            f"[databases]\n* = host={parts.hostname} port={parts.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 3\n"
        )
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        assert PGBOUNCER is not None
        self._process = subprocess.Popen(
            [PGBOUNCER, "-q", str(self._ini)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, **self._account,
        )  # fmt: skip

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            return False

        until(answers, 30)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it as told."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(10)

    def freeze(self, number: int = signal.SIGSTOP) -> None:
        """Stop it where it stands, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)


@pytest.fixture
def pooler(db: Database) -> Iterator[Pooler]:
    """A running PgBouncer before the test's database."""
    with own_folder() as folder:
        running = Pooler(db.settings.database_url or "", folder)
        running.start()
        try:
            yield running
        finally:
            running.end()
