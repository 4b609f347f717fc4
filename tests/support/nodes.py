"""Real nodes for tests: started as users start them, watched from outside, killed for real."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from opskit.database import Database
from opskit.local.checker import examine, record
from tests.support import python_programs

__all__ = ["Node", "add_files", "add_many", "ask", "counts", "record", "running_nodes", "status", "until", "violations"]

SUPPORT = Path(__file__).parent


class Node:
    """One `python -m opskit.worker`."""

    def __init__(
        self, db: Database, name: str, folder: Path, *flags: str, act: str = "nothing", **environ: str
    ) -> None:
        self.name = name
        self.log_path = folder / f"{name}-{time.monotonic_ns()}.log"
        settings = db.settings.environ() | {
            "NODE_ID": name,
            "OPSKIT_PROCESSOR": act if ":" in act else f"processors:{act}",
            "PYTHONPATH": str(SUPPORT),
        }
        with self.log_path.open("wb") as log:
            self.process = python_programs.Program(
                [sys.executable, "-m", "opskit.worker", *flags],
                env={**os.environ, **settings, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text()

    def child(self) -> int | None:
        """The pid of its child; None when it has none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def own_child(self) -> int:
        """The pid of its child, waited for: a signal to no process would go to the whole group of the tests."""
        return int(until(self.child, what="a child"))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the supervisor a signal."""
        self.process.send_signal(number)

    def end(self, seconds: float = 60) -> int:
        """Wait for its end."""
        return self.process.wait(seconds)

    def said(self) -> str:
        """What it wrote on stdout, after its end."""
        assert self.process.stdout is not None
        said: bytes = self.process.stdout.read()
        return said.decode()


@contextlib.contextmanager
def running_nodes(db: Database, folder: Path) -> Iterator[Callable[..., Node]]:
    """Start nodes; whatever still lives at the end is killed, its child dies with it."""
    started: list[Node] = []

    def start(name: str, *flags: str, act: str = "nothing", **environ: str) -> Node:
        node = Node(db, name, folder, *flags, act=act, **environ)
        started.append(node)
        return node

    try:
        yield start
    finally:
        for node in started:
            with contextlib.suppress(ProcessLookupError):
                node.process.send_signal(signal.SIGCONT)
                node.process.kill()
            node.process.wait()
            if node.process.stdout is not None:
                node.process.stdout.close()


def until(condition: Callable[[], Any], seconds: float = 60, what: str = "it") -> Any:
    """Wait until something is so; the answer is what made it so. A busy machine is late, not wrong."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def add_files(db: Database, *names: str) -> list[str]:
    """Insert rows by plain INSERT, as the application does; answers their ids."""
    with db.connection() as connection:
        return [
            connection.execute(
                f"INSERT INTO {db.settings.files} (original_filename, processing_status) VALUES (%s, 'queued') "
                "RETURNING id::text AS id",
                (name,),
            ).fetchone()["id"]
            for name in names
        ]


def add_many(db: Database, count: int) -> None:
    """Insert many rows at once."""
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status) "
        f"SELECT 'file-' || n, 'queued' FROM generate_series(1, {count}) AS n",
    )


def ask(db: Database, query: str, *values: Any) -> list[dict[str, Any]]:
    """Any statement; its rows."""
    with db.connection() as connection:
        cursor = connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def status(db: Database, id: str) -> str:
    """A file's state."""
    return str(db.one("file", id=id)["processing_status"])


def counts(db: Database) -> dict[str, int]:
    """Files by state."""
    found: dict[str, int] = {}
    for row in db.run("distribution"):
        found[row["processing_status"]] = found.get(row["processing_status"], 0) + row["file_count"]
    return found


def violations(db: Database) -> list[str]:
    """What the recorded history says against the promises; nothing when they hold."""
    return examine(db).wrong
