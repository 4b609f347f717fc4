"""Try each mutant of the kept list: its tests must fail.

    python -m tests.mutants                       all of them (make mutants)
    python -m tests.mutants --only requeue        those whose file or change has this in it
    python -m tests.mutants --figures FILE.json   and write the figures down

Each worker has a copy of the tree and a server. The tests that belong to the mutants are first run without one, and
must pass. A mutant is killed when one of its tests fails, twice; survived when all pass; broken when Python or
PostgreSQL cannot read it, which says nothing about the tests; late when they do not end in time. Exit 0 only if all
are killed.

The test that killed a mutant last time is tried first; the figures name it.
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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
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
from tests.mutants.kept import ROOT, Mutant, kept
from tests.support import servers

FIGURES = ROOT / "benchmarks" / "results" / "mutants.json"
PATIENCE_SECONDS = 240.0
_UNREADABLE = re.compile(
    r"errors\.(SyntaxError|Undefined\w+|Ambiguous\w+|DatatypeMismatch|IndeterminateDatatype|GroupingError|InvalidColumnReference)"
    r"|QueryError: sql/|^E +(Syntax|Indentation|Name|Unbound\w+)Error",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: The mutant.
        end: killed, survived, broken or late.
        seconds: How long its tests ran.
        killer: The test that failed; '' when none did.
        output: What pytest wrote.
    """

    mutant: Mutant
    end: str
    seconds: float
    killer: str = ""
    output: str = ""


class Worker:
    """A copy of the tree, and a server with a migrated database."""

    def __init__(self, folder: Path, server: servers.Server) -> None:
        self._copy = Copy(folder)
        self._database = server.create_database()
        with Database(Settings.load({}, database_url=self._database, env="development")) as database:
            migration.migrate(database)
        if self._copy.where_opskit_is() != self._copy.root / "opskit":
            raise RuntimeError(f"the tests would not see the copy in {self._copy.root}")
        self._nursery = self._copy.nursery()

    def unchanged(self, tests: tuple[str, ...], leaving_out: str) -> tuple[int, str]:
        """Run tests without a mutant, once more when they fail: the machine may have been busy.

        Returns:
            pytest's exit code and what it wrote.
        """
        code, output = self._run(tests, leaving_out, fresh=False)
        return (code, output) if code in (0, 5) else self._run(tests, leaving_out, fresh=False)

    def tries(self, mutant: Mutant, killer: str) -> Verdict:
        """Run a mutant's tests, the one that killed it last time first."""
        began = time.monotonic()
        with self._copy.changed(mutant):
            code, output = self._run((killer,), "", mutant.fresh) if killer else (0, "")
            if code in (0, 4, 5):  # passed, or there is no such test any more
                code, output = self._run(mutant.tests, mutant.leaving_out, mutant.fresh)
        seconds = round(time.monotonic() - began, 1)
        if code == 1 and not _UNREADABLE.search(output):
            return Verdict(mutant, "killed", seconds, _failed(output), output)
        if code < 0 and mutant.hangs:
            return Verdict(mutant, "killed", seconds, "out of time", output)
        return Verdict(mutant, {0: "survived", -1: "late"}.get(code, "broken"), seconds, output=output)

    def _run(self, tests: tuple[str, ...], leaving_out: str, fresh: bool) -> tuple[int, str]:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        job = {
            "arguments": arguments(tests, leaving_out),
            "environment": {"TESTS_DATABASE": "" if fresh else self._database},
            "seconds": PATIENCE_SECONDS,
        }
        print(json.dumps(job), file=self._nursery.stdin, flush=True)
        done = json.loads(self._nursery.stdout.readline())
        return done["code"], done["output"]

    def close(self) -> None:
        """Stop what runs the tests."""
        self._nursery.kill()
        self._nursery.communicate()


def _failed(output: str) -> str:
    """The first test that failed, by pytest's summary."""
    found = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", output, re.MULTILINE)
    return found[1] if found else ""


@contextlib.contextmanager
def _workers(count: int) -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-")))
        workers = [
            Worker(folder / str(number), stack.enter_context(servers.running_server())) for number in range(count)
        ]
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


def tried(mutants: list[Mutant], workers: list[Worker], before: dict[str, str], console: Console) -> Iterator[Verdict]:
    """Run the tests without a mutant, then each mutant.

    Raises:
        SystemExit: A test fails without a mutant.
    """
    files = sorted({((test,), mutant.leaving_out) for mutant in mutants for test in mutant.tests})
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("tests without a mutant", total=len(files))
        for file, (code, output) in _each(
            workers, files, lambda worker, chosen: (chosen[0][0], worker.unchanged(*chosen))
        ):
            bar.update(task, advance=1, description=f"without a mutant: {file}")
            if code not in (0, 5):
                raise SystemExit(f"{output}\n{file} fails without a mutant (exit {code})")
        bar.reset(task, total=len(mutants), description="mutants")
        one = lambda worker, mutant: worker.tries(mutant, before.get(str(mutant), ""))  # noqa: E731
        for verdict in _each(workers, mutants, one):
            bar.update(task, advance=1, description=str(verdict.mutant))
            if verdict.end != "killed" or not console.is_terminal:
                console.print(f"{verdict.end}: {verdict.mutant}", markup=False, highlight=False)
            yield verdict


def figures(verdicts: list[Verdict], seconds: float, workers: int, command: str) -> dict[str, Any]:
    """What is told of a run."""
    ends = Counter(verdict.end for verdict in verdicts)
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "workers": workers,
        "mutants": len(verdicts),
        **{end: ends[end] for end in ("killed", "survived", "broken", "late")},
        "seconds": round(seconds),
        "each": [
            {"mutant": str(one.mutant), "end": one.end, "seconds": one.seconds, "killer": one.killer}
            for one in sorted(verdicts, key=lambda one: str(one.mutant))
        ],
    }


def summary(told: dict[str, Any], verdicts: list[Verdict]) -> Table:
    """The figures by file, for people."""
    table = Table("file", "mutants", "killed", "seconds", box=None)
    for file in sorted({one.mutant.file for one in verdicts}):
        those = [one for one in verdicts if one.mutant.file == file]
        killed = sum(one.end == "killed" for one in those)
        table.add_row(file, str(len(those)), str(killed), f"{sum(one.seconds for one in those):.0f}")
    table.add_row("all", str(told["mutants"]), str(told["killed"]), str(told["seconds"]), style="bold")
    return table


def _before(path: Path) -> dict[str, str]:
    """Which test killed which mutant, by the figures of the last run."""
    with contextlib.suppress(FileNotFoundError):
        return {one["mutant"]: one["killer"] for one in json.loads(path.read_text())["each"] if "::" in one["killer"]}
    return {}


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
    began = time.monotonic()
    verdicts: list[Verdict] = []
    with _workers(given.workers) as workers:
        for verdict in tried(mutants, workers, _before(FIGURES), console):
            verdicts.append(verdict)
            if given.show and verdict.end != "killed":
                print(verdict.output, file=sys.stderr)
    told = figures(
        verdicts, time.monotonic() - began, given.workers, " ".join(["python -m tests.mutants", *sys.argv[1:]])
    )
    console.print(summary(told, verdicts))
    if given.figures is not None:
        given.figures.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    console.print(f"{told['killed']} of {told['mutants']} mutants killed, {told['seconds']} s", highlight=False)
    return 0 if told["killed"] == told["mutants"] else 1
