"""`opskit prove`: the promises, tried on the operator's own PostgreSQL, in a scratch schema that is dropped afterwards.

Real nodes race for files; one is killed, one frozen past its lease and thawed, connections are cut, and
cleanup runs all the time. Then the database's own record is held against each promise.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from opskit import migration, queue
from opskit.database import Database
from opskit.database.scratch import temporary_schema
from opskit.errors import OpskitError, SettingError
from opskit.files.claimed import ClaimedFile
from opskit.local import checker
from opskit.local.nodes import fill, start_node
from opskit.settings import Settings
from opskit.support.wording import count

LEASE_SECONDS = 2.0
_WORK_SECONDS = "OPSKIT_PROVE_WORK_SECONDS"
Say = Callable[[str], None]


def effect(file: ClaimedFile) -> dict[str, Any]:
    """The processor that is tried: works a little, then writes one row together with the completion."""
    time.sleep(float(os.environ.get(_WORK_SECONDS, "0.02")))
    with file.completing() as tx:
        tx.execute(
            "INSERT INTO effects (file_id, token, server_id) VALUES (%s, %s, %s)", (file.id, file.token, file.server_id)
        )
    return {"attempt": file.attempt}


def prove(
    settings: Settings,
    *,
    nodes: int = 4,
    files: int = 400,
    seconds: float = 60.0,
    seed: int = 1,
    on_line: Say = lambda _: None,
) -> dict[str, Any]:
    """Try the promises on a database, in a scratch schema that is dropped afterwards.

    Args:
        settings: Whose database. Its tables are not touched.
        nodes: How many nodes race, at least 3: one is killed, one frozen.
        files: How many files they race for.
        seconds: How long it may take at most [s].
        seed: Of the moments at which faults strike.
        on_line: Called with a line for each fault.

    Returns:
        "holds", "promises" (each with what was counted), "faults", "seconds".

    Raises:
        SettingError: The database is reached through a pooler, or a number cannot be used.
        DatabaseError: This role may not create a schema.
    """
    if nodes < 3:
        raise SettingError(f"--nodes is {nodes}; at least 3 are needed, because one is killed and one frozen")
    if files < 1:
        raise SettingError(f"--files is {files}; it must be at least 1")
    if not 0 < seconds < math.inf:
        raise SettingError(f"--seconds is {seconds:g}; it must be a number above 0")
    with (
        temporary_schema(
            settings,
            "prove",
            lease_seconds=LEASE_SECONDS,
            poll_seconds=0.2,
            retry_seconds=0.0,
            max_failures=1000,
            processor="opskit.local.prove:effect",
        ) as own,
        Database(own) as db,
        tempfile.TemporaryDirectory() as folder,
    ):
        migration.migrate(db)
        checker.record(db)
        run = _Proof(db, Path(folder), nodes, files, seconds, random.Random(seed), on_line)
        return run.run()


class _Proof:
    """One run: the nodes, the faults, the verdict."""

    def __init__(
        self, db: Database, folder: Path, nodes: int, files: int, seconds: float, rng: random.Random, on_line: Say
    ) -> None:
        self.db, self.folder, self.files, self.rng, self.on_line = db, folder, files, rng, on_line
        self.names = [f"proof-{n}" for n in range(nodes)]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.started = time.monotonic()
        self.deadline = self.started + seconds
        self.faults: dict[str, int] = {"killed": 0, "frozen": 0, "connections cut": 0, "cleanups": 0}
        self.cleaned = 0
        self.name = str(conninfo_to_dict(db.settings.database_url or "")["application_name"])

    def run(self) -> dict[str, Any]:
        # In three waves: however fast the nodes are, there is work in hand when a fault strikes.
        wave = self.files // 3
        try:
            fill(self.db, self.files - 2 * wave)
            for name in self.names:
                self._start(name)
            self._wait(lambda: self._completed() > 0)
            self._kill()
            self._cut()
            fill(self.db, wave)
            self._freeze()
            fill(self.db, wave)
            self._kill()
            self._cut()
            done = self._wait(lambda: self._completed() == self.files)
        finally:
            for process in self.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                process.wait()
        return self._verdict(done)

    # -- the faults --------------------------------------------------------------------------

    def _kill(self) -> None:
        name = self.rng.choice(self.names)
        self.on_line(f"kill -9 {name}, at work; started again")
        self.processes[name].kill()
        # One that had ended by itself was not killed.
        self.faults["killed"] += self.processes[name].wait() == -signal.SIGKILL
        self._start(name)
        self._pass(self.rng.uniform(0.5, 1.5))

    def _freeze(self) -> None:
        """Past its lease, so that an heir has its file; then thawed, so that it comes back as a zombie."""
        while not (busy := [one for one in self.names if self.db.run("held", server_id=one)]):
            if time.monotonic() > self.deadline or self._completed() == self.files:
                self.on_line("nobody held a file any more: nothing to freeze; give prove more files")
                return
            time.sleep(0.01)
        name = self.rng.choice(busy)
        self.on_line(f"SIGSTOP {name} for {LEASE_SECONDS * 2.5:g} s, past its lease; then SIGCONT")
        family = [self.processes[name].pid, *_children(self.processes[name].pid)]
        for pid in family:
            _send(pid, signal.SIGSTOP)
        self._pass(LEASE_SECONDS * 2.5)
        # The child first: it goes for its commit before its supervisor can stop it.
        for pid in reversed(family):
            _send(pid, signal.SIGCONT)
            self._pass(0.3)
        self.faults["frozen"] += 1

    def _cut(self) -> None:
        cut = 0
        url = self.db.settings.database_url or ""
        with psycopg.connect(url, application_name="opskit proof", autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = %s",
                (self.name,),
            ).fetchone()
            cut = row[0] if row else 0
        self.on_line(f"{count(cut, 'connection')} of the nodes cut")
        self.faults["connections cut"] += cut
        self._pass(self.rng.uniform(0.5, 1.0))

    def _cleanup(self) -> None:
        with contextlib.suppress(OpskitError):
            self.cleaned += len(queue.cleanup(self.db, actor="prove").ended)
            self.faults["cleanups"] += 1

    # -- the run -----------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = start_node(self.db, name, log)

    def _pass(self, seconds: float) -> None:
        """Let time pass; an operator cleans up at every moment of it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._cleanup()
            time.sleep(0.1)

    def _wait(self, condition: Callable[[], bool]) -> bool:
        while time.monotonic() < self.deadline:
            with contextlib.suppress(OpskitError):
                if condition():
                    return True
            self._pass(0.2)
        return False

    def _completed(self) -> int:
        return sum(row["file_count"] for row in self.db.run("distribution") if row["processing_status"] == "completed")

    # -- the verdict -------------------------------------------------------------------------

    def _verdict(self, done: bool) -> dict[str, Any]:
        found = checker.examine(self.db)
        log = "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))
        states = {row["processing_status"]: row["file_count"] for row in self._states()}
        attempts = self.db.run("events", file_id="", kind="attempt", row_limit=100_000)
        without_reason = sum(not event["reason"] for event in attempts)
        ended = found.claims - sum(found.completions.values())
        promises = [
            _promise("none is lost: every file is in one of the four states", sum(states.values()) == self.files,
                     ", ".join(f"{number} {state}" for state, number in sorted(states.items()))),
            _promise("every file was completed in the time given", done,
                     f"{len(found.completions)} of {self.files} in {time.monotonic() - self.started:.1f} s"),
            _promise("a file completes once", max(found.completions.values(), default=0) <= 1,
                     f"{count(sum(found.completions.values()), 'completion')} "
                     f"of {count(len(found.completions), 'file')}"),
            _promise("effects commit with the completion or not at all",
                     found.effects == dict.fromkeys(found.completions, 1),
                     count(sum(found.effects.values()), "effect")),
            _promise("one claim per token", not found.twice_claimed, count(found.claims, "claim")),
            _promise("a server ID holds one file at most", not found.crowded,
                     f"{count(found.crowded, 'moment')} with two"),
            _promise("a zombie is refused", self.faults["frozen"] > 0 and not found.wrong,
                     f"{count(log.count('is lost'), 'late write')} refused"),
            _promise("whatever ended an attempt badly is written down", not without_reason and len(attempts) == ended,
                     f"{len(attempts)} of {count(ended, 'attempt')} that did not complete, each with its reason"),
        ]  # fmt: skip
        return {
            "holds": all(promise["holds"] for promise in promises),
            "promises": promises,
            "faults": self.faults | {"claims ended by cleanup": self.cleaned},
            "wrong": found.wrong[:20],
            "seconds": round(time.monotonic() - self.started, 1),
        }

    def _states(self) -> list[dict[str, Any]]:
        totals: dict[str, int] = {}
        for row in self.db.run("distribution"):
            totals[row["processing_status"]] = totals.get(row["processing_status"], 0) + row["file_count"]
        return [{"processing_status": state, "file_count": count} for state, count in totals.items()]


def _promise(what: str, holds: bool, counted: str) -> dict[str, Any]:
    return {"promise": what, "holds": holds, "counted": counted}


def _children(pid: int) -> list[int]:
    """The pids of a process's children."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
