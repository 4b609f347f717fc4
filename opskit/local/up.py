"""`opskit up`: everything at once: database, migration, files, nodes, page and API, until Ctrl-C or until done."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from opskit import doctor, migration, queue
from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError, NotMigratedError, OpskitError, SettingError
from opskit.files.listing import expand
from opskit.files.processor import check_processor
from opskit.local.nodes import Part
from opskit.local.samples import SAMPLES
from opskit.queue import breaker
from opskit.queue.server_id import server_id
from opskit.settings import Settings
from opskit.support import private_files, wording
from opskit.support.console import err
from opskit.support.visible import visible

_LOOK_SECONDS = 0.5
_NODES_READY_SECONDS = 10.0


def up(
    settings: Settings,
    paths: Sequence[str] = (),
    *,
    nodes: int = 3,
    dashboard: bool = True,
    until_done: bool = False,
    migrate: bool = False,
) -> dict[str, Any]:
    """Bring everything up, and stay until told to stop.

    Args:
        settings: Database, environment, port, processor.
        paths: What to enqueue; what is in the table already is left out. With none and an empty table: the samples.
        nodes: How many nodes to start, each a process of its own.
        dashboard: Serve page and API.
        until_done: End when nothing is queued or processing.
        migrate: Migrate also a database that is not the embedded one.

    Returns:
        A summary: what was enqueued, completed and failed since the start, and by whom.

    Raises:
        NotMigratedError: The database is not the embedded one, and not migrated.
        OpskitError: A node ends again and again.
    """
    check_processor(settings)
    own = settings.database_url is None
    # Read-only is the page; what nodes do is no action of somebody.
    with Database(dataclasses.replace(settings, read_only=False), statement_seconds=None) as db:
        _prepare(db, migrate=own or migrate)
        return _Show(db, paths, nodes, dashboard, until_done, read_only=settings.read_only).run()


def _prepare(db: Database, *, migrate: bool) -> None:
    if migration.check(db):
        return
    if not migrate:
        raise NotMigratedError(
            f"{db.settings.files} is not migrated; run: opskit migrate (or opskit up --migrate); "
            "opskit migrate --plan shows what it would do"
        )
    with err.status(f"migrating {db.settings.files}"):
        migration.migrate(db)


class _Show:
    """One run of `up`."""

    def __init__(
        self, db: Database, paths: Sequence[str], nodes: int, dashboard: bool, until_done: bool, *, read_only: bool
    ) -> None:
        self.db = db
        self.read_only = read_only
        self.settings = db.settings
        self.paths, self.dashboard, self.until_done = paths, dashboard, until_done
        self.stop = threading.Event()
        self.since = db.one("pending")["now"]
        self.started = time.monotonic()
        self.log_folder = self.settings.home_path / "logs" if err.is_terminal else None
        base = server_id(self.settings)
        self.nodes = [self._node(f"{base}-{number}") for number in range(1, nodes + 1)]
        self.page = self._page() if dashboard else None

    def run(self) -> dict[str, Any]:
        # Looked at before anything is started: a wrong path is the user's to mend.
        files = list(expand(self.paths, on_line=err.print))
        with self._obeying_signals():
            try:
                for part in self._parts():
                    part.start()
                self._wait_for_nodes()
                enqueued = self._enqueue([path for path, _, _ in files])
                if self.page is not None:
                    err.print(Text.assemble("page and API: ", (self._url(), "bold"), "  (Ctrl-C drains and ends)"))
                self._watch()
                # Before the nodes leave: afterwards nobody claims, and that explains nothing.
                findings = self._reasons()
            finally:
                self._drain()
        return self._summary(enqueued) | self._left(findings)

    # -- parts -------------------------------------------------------------------------------

    def _node(self, name: str) -> Part:
        settings = dataclasses.replace(self.settings, node_id=name)
        return Part(name, "opskit.worker", ["--json", "--parent", str(os.getpid())], settings, self._log(name))

    def _page(self) -> Part:
        settings = dataclasses.replace(self.settings, read_only=self.read_only)
        return Part("page", "opskit.web", ["--parent", str(os.getpid())], settings, self._log("page"))

    def _log(self, name: str) -> Path | None:
        if self.log_folder is None:
            return None
        try:
            private_files.home(self.settings.home_path)
            self.log_folder.mkdir(mode=private_files.FOLDER, exist_ok=True)
            private_files.folder(self.log_folder)
        except OSError as error:
            raise SettingError(f"logs cannot be written to {str(self.log_folder)!r}: {error.strerror}") from error
        return self.log_folder / f"{name.replace('/', '_')}.log"

    def _parts(self) -> Iterator[Part]:
        yield from self.nodes
        if self.page is not None:
            yield self.page

    def _url(self) -> str:
        host = self.settings.host if ":" not in self.settings.host else f"[{self.settings.host}]"
        return f"http://{host}:{self.settings.port}"

    def _wait_for_nodes(self) -> None:
        """Files come when all nodes are there, and their children: each gets its share."""
        names, deadline = {node.name for node in self.nodes}, time.monotonic() + _NODES_READY_SECONDS
        while time.monotonic() < deadline and not self.stop.is_set():
            if names <= self._ready_nodes():
                return
            self._look_after_parts()
            self.stop.wait(0.05)

    def _ready_nodes(self) -> set[str]:
        """Who could claim now. Behind a pooler sessions are nobody's, and a child cannot be seen."""
        rows = self.db.run("alive_nodes") if self.db.pooler else self.db.run("ready_nodes", env=self.settings.env)
        return {row["server_id"] for row in rows}

    def _enqueue(self, paths: list[str]) -> int:
        if not paths and not self.paths and self._table_is_empty() and SAMPLES.is_dir():
            paths = [path for path, name, _ in expand([SAMPLES]) if name != "README.md"]
        if not paths:
            return 0
        with err.status(f"enqueueing {wording.count(len(paths), 'file')}"):
            return queue.enqueue(self.db, paths, skip_known=True)

    def _table_is_empty(self) -> bool:
        return not self.db.run("any_file")

    # -- the run -----------------------------------------------------------------------------

    def _watch(self) -> None:
        """Show progress until stopped, or until done."""
        progress = Progress(
            TextColumn("{task.description:<28}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[doing]}", markup=False), TimeElapsedColumn(), console=err,
        )  # fmt: skip
        whole = progress.add_task(f"{self.settings.env} files", total=None, doing="")
        tasks = {node.name: progress.add_task(node.name[:28], total=None, doing="") for node in self.nodes}
        display = Live(progress, console=err, refresh_per_second=4) if err.is_terminal else contextlib.nullcontext()
        with display:
            while not self.stop.is_set():
                hopeless = None
                self._look_after_parts()
                with contextlib.suppress(DatabaseUnavailableError, DatabaseError):
                    pending = self.db.one("pending")
                    ended = {row["server_id"]: row for row in self.db.run("ended_since", since=self.since)}
                    done = sum(row["completed"] + row["failed"] for row in ended.values())
                    left = pending["queued"] + pending["processing"]
                    progress.update(
                        whole, completed=done, total=done + left,
                        doing=f"{pending['queued']} queued, {pending['processing']} in processing",
                    )  # fmt: skip
                    if err.is_terminal:
                        self._show_nodes(progress, tasks, ended)
                    if self.until_done and left == 0:
                        return
                    hopeless = breaker.in_vain(self.db) if self.until_done else None
                if hopeless:
                    raise OpskitError(hopeless)
                self.stop.wait(_LOOK_SECONDS)

    def _show_nodes(self, progress: Progress, tasks: dict[str, Any], ended: dict[str, Any]) -> None:
        for row in self.db.run("nodes"):
            task = tasks.get(row["server_id"])
            if task is None:
                continue
            own = ended.get(row["server_id"], {"completed": 0, "failed": 0})
            count = own["completed"] + own["failed"]
            percent = ""
            if row["progress_done"] is not None and row["progress_total"]:
                percent = f" {100 * row['progress_done'] / row['progress_total']:.0f} %"
            doing = f"{row['original_filename']}{percent}" if row["original_filename"] else row["state"]
            progress.update(task, completed=count, total=max(count, 1), doing=visible(doing))

    def _look_after_parts(self) -> None:
        """Start again what ended by itself; give up on what cannot live."""
        for part in self._parts():
            if part.process is None or part.process.poll() is None or self.stop.is_set():
                continue
            code = part.process.returncode
            if code == 0 and part is not self.page:
                # Drained by an operator: that was meant.
                part.process = None
                continue
            part.restarts += 1
            if (time.monotonic() - part.started < 5 and part.restarts > 3) or code in (1, 2):
                raise OpskitError(f"{part.name} ended with exit code {code}{_colon(part.last_line())}")
            err.print(f"{part.name} ended with code {code}; starting it again")
            part.start()

    def _drain(self) -> None:
        """Let every node finish its file; then end the page."""
        for part in self.nodes:
            part.signal(signal.SIGTERM)
        grace = self.settings.drain_seconds + 10
        for part in self.nodes:
            part.end(grace)
        if self.page is not None:
            self.page.signal(signal.SIGTERM)
            self.page.end(5)

    def _summary(self, enqueued: int) -> dict[str, Any]:
        ended = {row["server_id"]: row for row in self.db.run("ended_since", since=self.since)}
        nodes = []
        for node in self.nodes:
            said = node.summary() or {"serverId": node.name}
            own = ended.get(node.name, {"completed": 0, "failed": 0})
            nodes.append({**said, "completed": own["completed"], "failed": own["failed"]})
        return {
            "environment": self.settings.env,
            "table": self.settings.files,
            "enqueued": enqueued,
            "completed": sum(row["completed"] for row in ended.values()),
            "failed": sum(row["failed"] for row in ended.values()),
            "seconds": round(time.monotonic() - self.started, 2),
            "nodes": nodes,
        }

    def _reasons(self) -> list[str]:
        """The doctor's reasons why no file is processed."""
        with contextlib.suppress(DatabaseUnavailableError, DatabaseError):
            if self.db.one("pending")["queued"]:
                return [finding.what for finding in doctor.examine(self.db) if finding.check in doctor.WORK]
        return []

    def _left(self, reasons: Sequence[str]) -> dict[str, Any]:
        """The files that still wait, and why."""
        pending = self.db.one("pending")
        waits = pending["queued"] + pending["processing"]
        return {
            "queued": pending["queued"],
            "processing": pending["processing"],
            "reasons": list(reasons) if waits else [],
        }

    @contextlib.contextmanager
    def _obeying_signals(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a terminal that closes drain; not where nohup has SIGHUP ignored."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        if before[signal.SIGHUP] == signal.SIG_IGN:
            del before[signal.SIGHUP]

        def stop(number: int, _: object) -> None:
            if not self.stop.is_set():
                self.stop.set()
                with contextlib.suppress(OSError):  # the terminal may be gone
                    err.print("draining: every node finishes its file (Ctrl-C again: give the files back now)")
            elif number != signal.SIGHUP:
                for part in self.nodes:
                    part.signal(signal.SIGTERM)

        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _colon(text: str) -> str:
    return f": {text}" if text else ""
