"""Try each mutant of the kept list: its tests must fail.

    python -m tests.mutants                       all of them (make mutants)
    python -m tests.mutants --only requeue        those whose file or change has this in it
    python -m tests.mutants --figures FILE.json   and write the figures down

Each worker has a copy of the tree and a server. A mutant is killed when one of its tests fails, twice; survived when
all pass; broken when Python or PostgreSQL cannot read it, or its killer fails without a mutant, too: that says nothing
about the tests; late when they do not end in time. Exit 0 only if all are killed.

The test that killed a mutant last time is tried first; the figures name it. A run that is ended goes on where it stood
when it is started again on the same commit: see `journal.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from opskit import migration
from opskit.database import Database
from opskit.settings import Settings
from tests.mutants.copies import Copy, arguments
from tests.mutants.journal import FOLDER, Journal, Verdict, commit, read
from tests.mutants.kept import ROOT, Mutant, kept
from tests.support import servers

FIGURES = ROOT / "benchmarks" / "results" / "mutants.json"
PATIENCE_SECONDS = 240.0
_UNREADABLE = re.compile(
    r"errors\.(SyntaxError|Undefined\w+|Ambiguous\w+|DatatypeMismatch|IndeterminateDatatype|GroupingError|InvalidColumnReference)"
    r"|QueryError: sql/|^E +(Syntax|Indentation|Name|Unbound\w+)Error",
    re.MULTILINE,
)


class Worker:
    """A copy of the tree, and a server with a migrated database."""

    def __init__(self, copy: Copy, server: servers.Server) -> None:
        self.copy = copy
        self._database = server.create_database()
        with Database(Settings.load({}, database_url=self._database, env="development")) as database:
            migration.migrate(database)
        if copy.where_opskit_is() != copy.root / "opskit":
            raise RuntimeError(f"the tests would not see the copy in {copy.root}")
        self._nursery = copy.nursery()

    def fails(self, tests: tuple[str, ...]) -> str:
        """Run tests without a mutant; once more when they fail: the machine may have been busy. What pytest wrote."""
        for _ in range(2):
            code, output = self._run(tests)
            if code == 0:
                return ""
        return f"pytest ended with {code}\n{output}"

    def tries(self, mutant: Mutant, killer: str) -> tuple[Verdict, str]:
        """Run a mutant's tests, the one that killed it last time first; also what pytest wrote."""
        began = time.monotonic()
        with self.copy.changed(mutant):
            code, output = self._run((killer,), mutant) if killer else (0, "")
            if code in (0, 4, 5):  # passed, or there is no such test any more
                code, output = self._run(mutant.tests, mutant)
        killed = (code == 1 and not _UNREADABLE.search(output)) or (code < 0 and mutant.hangs)
        end = "killed" if killed else {0: "survived", -1: "late"}.get(code, "broken")
        by = (failed(output) or "out of time") if killed else ""
        return Verdict(str(mutant), mutant.key, end, round(time.monotonic() - began, 1), by), output

    def _run(self, tests: tuple[str, ...], mutant: Mutant | None = None) -> tuple[int, str]:
        """pytest's exit code and what it wrote."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        job = {
            "arguments": arguments(tests, mutant.leaving_out if mutant else "", folder=self.copy.root.parent / "files"),
            "environment": {"TESTS_DATABASE": "" if mutant and mutant.fresh else self._database},
            "seconds": PATIENCE_SECONDS,
            "package": mutant is None or mutant.file.endswith(".sql"),
        }
        print(json.dumps(job), file=self._nursery.stdin, flush=True)
        done = json.loads(self._nursery.stdout.readline())
        return done["code"], done["output"]

    def close(self) -> None:
        """Stop what runs the tests."""
        self._nursery.kill()
        self._nursery.communicate()


def failed(output: str) -> str:
    """The first test that failed, by pytest's summary."""
    found = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+(?:\[.*?\](?= - |$))?)", output, re.MULTILINE)
    return found[1] if found else ""


@contextlib.contextmanager
def _workers(count: int, tests: list[str]) -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        first = Copy(folder / "0")
        first.compile(tests)
        copies = [first, *(Copy(folder / str(number), first.root) for number in range(1, count))]
        workers = [Worker(copy, stack.enter_context(servers.running_server())) for copy in copies]
        for worker in workers:
            stack.callback(worker.close)
        yield workers


def _each(workers: list[Worker], jobs: list[Any], do: Any) -> Iterator[Any]:
    """Do the jobs, each by a worker that is free; results in the order of their ends."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)

    def work(worker: Worker) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = waiting.get_nowait()
                try:
                    done.put(do(worker, job))
                except BaseException as error:
                    done.put(error)

    for worker in workers:
        threading.Thread(target=work, args=(worker,), daemon=True).start()
    for _ in jobs:
        result = done.get()
        if isinstance(result, BaseException):
            raise result
        yield result


def tried(
    mutants: list[Mutant], workers: list[Worker], journal: Journal, console: Console, show: bool
) -> list[Verdict]:
    """Try each mutant that was not killed before; what is killed by a test that fails without it, too, is broken."""
    before, verdicts = killers(), journal.killed(mutants)
    if verdicts:
        console.print(f"{len(verdicts)} were killed before, on this commit", highlight=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        open_ones = [mutant for mutant in mutants if mutant.key not in verdicts]
        task = bar.add_task("mutants", total=len(open_ones))
        one = lambda worker, mutant: worker.tries(mutant, before.get(mutant.key, ""))  # noqa: E731
        for verdict, output in _each(workers, open_ones, one):
            bar.update(task, advance=1, description=verdict.mutant)
            if verdict.end != "killed" or not console.is_terminal:
                console.print(f"{verdict.end}: {verdict.mutant}", markup=False, highlight=False)
            if show and verdict.end != "killed":
                print(output, file=sys.stderr, flush=True)
            verdicts[verdict.key] = verdict
            journal.note(verdict)
        files: dict[str, set[str]] = defaultdict(set)
        for verdict in verdicts.values():
            if "::" in verdict.killer:
                files[verdict.killer.partition("::")[0]].add(verdict.killer)
        bar.reset(task, total=len(files), description="their killers without a mutant")
        bad: set[str] = set()
        for failing in _each(workers, sorted(files.values(), key=len), _failing):
            bar.update(task, advance=1)
            for test, output in failing.items():
                console.print(f"fails without a mutant: {test}\n{output}", markup=False, highlight=False)
            bad |= failing.keys()
    return [replace(one, end="broken") if one.killer in bad else one for one in verdicts.values()]


def _failing(worker: Worker, tests: set[str]) -> dict[str, str]:
    """Which tests of one file fail without a mutant, and how; all at once, and each alone where these fail."""
    if not worker.fails(tuple(sorted(tests))):
        return {}
    return {test: output for test in tests if (output := worker.fails((test,)))}


def figures(verdicts: list[Verdict], seconds: float, workers: int, of: str) -> dict[str, Any]:
    """What is told of a run."""
    ends = Counter(verdict.end for verdict in verdicts)
    return {
        "command": " ".join(["python -m tests.mutants", *sys.argv[1:]]),
        "commit": of,
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "workers": workers,
        "mutants": len(verdicts),
        **{end: ends[end] for end in ("killed", "survived", "broken", "late")},
        "seconds": round(seconds),
        "each": [asdict(verdict) for verdict in sorted(verdicts, key=lambda one: (one.mutant, one.key))],
    }


def summary(told: dict[str, Any], verdicts: list[Verdict]) -> Table:
    """The figures by file, for people."""
    table = Table("file", "mutants", "killed", "seconds", box=None)
    files: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        files[verdict.mutant.partition(": ")[0]].append(verdict)
    for file, those in sorted(files.items()):
        killed = sum(one.end == "killed" for one in those)
        table.add_row(file, str(len(those)), str(killed), f"{sum(one.seconds for one in those):.0f}")
    table.add_row("all", str(told["mutants"]), str(told["killed"]), str(told["seconds"]), style="bold")
    return table


def killers(folder: Path = FOLDER, path: Path = FIGURES) -> dict[str, str]:
    """Which test killed which mutant, by the figures of the last whole run and by what was found since."""
    told = json.loads(path.read_text())["each"] if path.exists() else []
    for found in sorted(folder.glob("*.jsonl"), key=os.path.getmtime):
        told += read(found)
    return {one["key"]: one["killer"] for one in told if "::" in one["killer"]}


def main() -> int:
    """Try them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants with this in their file or change")
    parser.add_argument("--workers", type=int, default=2, help="copies of the tree, each with a server")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="where the figures go; else nowhere")
    parser.add_argument("--show", action="store_true", help="what pytest wrote of those that are not killed")
    given = parser.parse_args()
    mutants = [mutant for mutant in kept() if given.only in str(mutant)]
    if not mutants:
        raise SystemExit(f"no mutant has {given.only!r} in its file or change")
    console = Console(soft_wrap=True)
    began, of = time.monotonic(), commit()
    with _workers(given.workers, [test for mutant in mutants for test in mutant.tests]) as workers:
        verdicts = tried(mutants, workers, Journal(of), console, given.show)
    told = figures(verdicts, time.monotonic() - began, given.workers, of)
    console.print(summary(told, verdicts))
    if given.figures is not None:
        given.figures.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    console.print(f"{told['killed']} of {told['mutants']} mutants killed, {told['seconds']} s", highlight=False)
    return 0 if told["killed"] == told["mutants"] else 1
