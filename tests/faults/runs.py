"""The fault suite, or other tests, several times in a row: every failure is counted, none is tried again.

    python tests/faults/runs.py --times 10 --workers 4        (make test-faults TIMES=10)
    python tests/faults/runs.py --load 4 --marks 'not slow and not browser' tests    (make test-often LOAD=4)

Each run has a seed of its own, its number. The figures go into a file after each run, so that runs that
are broken off are told as what they are. Exit 0 only if every run passed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


@dataclass
class Run:
    """What one run did.

    Attributes:
        seed: Its number, and the seed of what is random in it.
        seconds: How long it took, start and end of pytest included.
        tests: How many tests were run or skipped.
        skipped: How many this machine cannot run.
        failed: The names of those that failed, of errors in fixtures, too.
    """

    seed: int
    seconds: float = 0.0
    tests: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    exit_code: int = 0

    @property
    def passed(self) -> bool:
        """Whether all that could be run passed."""
        return self.exit_code == 0 and not self.failed and self.tests > self.skipped


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """So many processes that are always busy, while the block runs."""
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def run(seed: int, workers: int, chosen: list[str]) -> Run:
    """Run the suite once."""
    one = Run(seed)
    # Whatever the caller tells pytest, nothing is tried again here.
    environ = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"} | {"SEED": str(seed)}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "-rs", "-p", "no:rerunfailures", "-n", str(workers), "--dist", "worksteal",
            f"--junitxml={report}", *chosen,
        ]  # fmt: skip
        began = time.monotonic()
        one.exit_code = subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode
        one.seconds = round(time.monotonic() - began, 1)
        if report.exists():
            _read(report, one)
    return one


def _read(report: Path, one: Run) -> None:
    """Fill in what pytest wrote down."""
    names: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        ends = {child.tag for child in case}
        end = "failed" if ends & {"failure", "error"} else "skipped" if "skipped" in ends else "passed"
        # A test whose teardown went wrong, too, stands there twice.
        names[name] = "failed" if "failed" in (names.get(name), end) else end
    one.tests = len(names)
    one.skipped = sum(end == "skipped" for end in names.values())
    one.failed = sorted(name for name, end in names.items() if end == "failed")


def figures(runs: list[Run], asked: int, workers: int) -> dict[str, Any]:
    """What is told of the runs."""
    failures = Counter(name for one in runs for name in one.failed)
    return {
        "command": f"make test-faults TIMES={asked}",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "cores": len(os.sched_getaffinity(0)),
        "workers": workers,
        "asked": asked,
        "runs": len(runs),
        "passed": sum(one.passed for one in runs),
        "tests": max(one.tests for one in runs),
        "skipped": max(one.skipped for one in runs),
        "seconds": [one.seconds for one in runs],
        "failures": dict(sorted(failures.items())),
        "each": [asdict(one) for one in runs],
    }


def _commit() -> str:
    """The commit that is tried; marked when the tree differs from it in more than these figures."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = [line for line in git("status", "--porcelain").splitlines() if "benchmarks/results/" not in line]
    return f"{git('rev-parse', '--short', 'HEAD')}{'+' if changed else ''}"


def table(told: dict[str, Any]) -> str:
    """The figures for people."""
    seconds = told["seconds"]
    last = told["each"][-1]
    lines = [
        f"run {last['seed']} of {told['asked']}: {last['tests'] - last['skipped'] - len(last['failed'])} passed, "
        f"{len(last['failed'])} failed, {last['seconds']:.0f} s, exit {last['exit_code']}",
        f"{told['passed']} of {told['runs']} runs passed: {told['tests']} tests a run ({told['skipped']} skipped), "
        f"{min(seconds):.0f} to {max(seconds):.0f} s a run, {told['workers']} at a time on {told['cores']} cores, "
        f"commit {told['commit']}",
    ]
    return "\n".join(lines + [f"  failed {count} times: {name}" for name, count in told["failures"].items()])


def main() -> int:
    """Run it as often as told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--workers", type=int, default=4, help="tests at a time: they wait more than they work")
    parser.add_argument("--figures", type=Path, help="where the figures go; with one run alone, nowhere")
    parser.add_argument("--load", type=int, default=0, help="processes that are always busy beside them")
    parser.add_argument("--marks", default="", help="which tests by their marks, as pytest's -m takes it")
    parser.add_argument("tests", nargs="*", help="what to run; the whole suite by default")
    given = parser.parse_args()
    runs: list[Run] = []
    chosen = [*(given.tests or ["tests/faults"]), *(["-m", given.marks] if given.marks else [])]
    for seed in range(1, given.times + 1):
        with load(given.load):
            runs.append(run(seed, given.workers, chosen))
        told = figures(runs, given.times, given.workers)
        if given.figures is not None:
            given.figures.write_text(json.dumps(told, indent=1) + "\n")
        print(table(told), flush=True)
    return 0 if all(one.passed for one in runs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
