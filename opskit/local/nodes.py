"""Real nodes on this machine, each a child of this process: `up`, `prove`, `bench` and notebooks start them here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from psycopg import sql

from opskit.database import Database
from opskit.errors import OpskitError, SettingError
from opskit.settings import Settings
from opskit.support import private_files
from opskit.support.progress import counting

_TELL_SECONDS = 1.0
_VARIABLES = {field.metadata["env"] for field in dataclasses.fields(Settings)}


def launch(
    module: str,
    *arguments: str,
    settings: Settings,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
    stderr: IO[bytes] | int | None = None,
    own_group: bool = True,
    own_settings: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE` with these settings.

    Args:
        module: opskit.worker or opskit.web.
        arguments: Its flags.
        settings: Handed on as environment variables.
        stdout, stderr: As `subprocess.Popen` takes them. Never a pipe that nobody reads: it would stop the node.
        own_group: Ctrl-C reaches only this process, which then ends its children itself.
        own_settings: Settings that are unset in *settings* are unset in the child, too, whatever the shell says.
    """
    outside = {name: value for name, value in os.environ.items() if not (own_settings and name in _VARIABLES)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env={**outside, **settings.environ()},
        process_group=0 if own_group else None,
    )


def start_node(db: Database, name: str, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a node on *db* that ends with this process.

    Args:
        db: An open database.
        name: The node's server ID.
        log: Where its log goes.
    """
    settings = dataclasses.replace(db.settings, node_id=name)
    return launch("opskit.worker", "--parent", str(os.getpid()), settings=settings, stderr=log)


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
    before = db.one("live", stale_after_seconds=db.settings.stale_after_seconds)["queued"]
    total = before if max_files is None else min(before, max_files * len(names))
    with counting("processing", "file", total=total) as told:

        def tell() -> None:
            now = db.one("live", stale_after_seconds=db.settings.stale_after_seconds)
            told(min(max(before - now["queued"] - now["processing"], 0), total))

        return run_until_drained(db.settings, names, max_files=max_files, tell=tell)


def run_until_drained(
    settings: Settings,
    names: Sequence[str],
    *,
    max_files: int | None = None,
    tell: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Run one node for each name until the queue is empty, and return each one's summary.

    Args:
        settings: Theirs.
        names: Their server IDs.
        max_files: Most files for each of them. Defaults to no limit.
        tell: Called every second while they work.

    Raises:
        OpskitError: A node ended in error.
    """
    # A kernel that is killed takes its nodes along.
    flags = ["--drain", "--json", "--parent", str(os.getpid())]
    flags += ["--max-files", str(max_files)] if max_files is not None else []
    with contextlib.ExitStack() as stack:
        started = []
        for name in names:
            log = stack.enter_context(tempfile.TemporaryFile())
            node = launch(
                "opskit.worker",
                *flags,
                settings=dataclasses.replace(settings, node_id=name),
                stdout=subprocess.PIPE,
                stderr=log,
                own_group=False,
                own_settings=True,
            )
            stack.enter_context(node)  # waits for its end
            stack.callback(node.terminate)  # which an interrupt brings about
            started.append((name, node, log))
        # What a node prints at its end fits into its pipe: nobody has to read meanwhile.
        while any(node.poll() is None for _, node, _ in started):
            with contextlib.suppress(subprocess.TimeoutExpired):
                next(node for _, node, _ in started if node.returncode is None).wait(_TELL_SECONDS)
                continue
            tell()
        return [_summary(*one) for one in started]


def _summary(name: str, node: subprocess.Popen[bytes], log: IO[bytes]) -> dict[str, Any]:
    printed, _ = node.communicate()
    if node.returncode:
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
        raise OpskitError(": ".join([f"{name} ended with exit code {node.returncode}", *lines[-1:]]))
    answer: dict[str, Any] = json.loads(printed)
    return answer


def fill(db: Database, count: int) -> None:
    """Insert *count* queued rows whose files do not exist: what `prove` and `bench` race for."""
    with db.connection() as connection:
        connection.execute(
            sql.SQL("INSERT INTO {} (original_filename) SELECT 'file-' || n FROM generate_series(1, {}) AS n").format(
                sql.Identifier(db.settings.files), sql.Literal(count)
            )
        )


@dataclass
class Part:
    """One process that `up` starts, and starts again when it ends: a node, or the page.

    Attributes:
        name: The node's server ID, or "page".
        module: What `python -m` runs.
        arguments: Its flags.
        settings: Its settings.
        log: Its log file; None for this process's stderr.
        process: The process; None when it is not to be started again.
        restarts: How often it was started again.
        started: When it was started last [s, monotonic].
        output: What it prints on stdout; None before its start.
    """

    name: str
    module: str
    arguments: Sequence[str]
    settings: Settings
    log: Path | None
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    started: float = 0.0
    output: IO[bytes] | None = None

    def start(self) -> None:
        """Start it.

        Raises:
            SettingError: Its log cannot be written.
        """
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(_opened_log(self.log)) if self.log else None
            self.output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the part
            self.started = time.monotonic()
            self.process = launch(self.module, *self.arguments, settings=self.settings, stdout=self.output, stderr=log)

    def summary(self) -> dict[str, Any] | None:
        """The summary that a node prints at its end; None when it did not come to that."""
        if self.output is None:
            return None
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        with contextlib.suppress(ValueError, IndexError):
            answer: dict[str, Any] = json.loads(lines[-1])
            return answer
        return None

    def last_line(self) -> str:
        """The last line of its log; "" when there is none."""
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, seconds: float) -> None:
        """Wait for its end; kill it after *seconds*."""
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _opened_log(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(private_files.opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")
    except OSError as error:
        raise SettingError(f"the log {str(path)!r} cannot be written: {error.strerror}") from error
