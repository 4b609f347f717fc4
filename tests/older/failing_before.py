"""Which tests of the rules of this version fail on the first version: a table, and each test by name as JSON.

python -m tests.older.failing_before [--workers 3] [--limit 60] [--figures FILE]

The tests are those that came between the first version and the move into packages: after it, they could not be run
against the old code. They and the old code are put side by side from the repository's history into a temporary folder.
A test fails by what the old code did, or because it names what was not there yet (a module, a column, a flag).
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from opskit.support import console

ROOT = Path(__file__).parents[2]
FIRST = "0dd09f4"
"""The first version."""
TESTS = "ef95d37^"
"""The last commit before the move into packages."""
PLUGIN = "opskit.files.pytest_plugin"
"""Today's plug-in is installed where this runs, and the old package does not have it."""
NOT_THERE = (
    "NotThereError", "AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "TypeError", "KeyError",
    "FileNotFoundError", "UndefinedColumn", "UndefinedFunction", "UndefinedTable", "UnknownSettingError",
)  # fmt: skip
"""What Python and PostgreSQL raise for a name that they do not know."""


def git(*arguments: str) -> bytes:
    """What git answers.

    Raises:
        CalledProcessError: It failed; its words are on the screen.
    """
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def lay_out(folder: Path) -> list[str]:
    """The old package and the later tests, in a folder; the names of the files whose tests are new."""
    for commit, paths in ((TESTS, ("app.py", "notebooks", "pyproject.toml", "README.md", "samples", "tests", "docs")),
                          (FIRST, ("opskit", "sql"))):  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", commit, *paths))) as archive:
            archive.extractall(folder, filter="data")
    named = git("diff", "--name-only", "--diff-filter=A", FIRST, TESTS, "--", "tests").decode().split()
    return sorted(name for name in named if Path(name).name.startswith("test_"))


def run(folder: Path, files: list[str], workers: int, limit: int) -> Path:
    """Run them; where pytest has written what came of each."""
    report = folder / "report.xml"
    paths = os.pathsep.join((str(folder), str(Path(__file__).parent)))
    subprocess.run(
        [
            sys.executable, "-m", "pytest", "-p", "not_there", "-p", f"no:{PLUGIN}", "-n", str(workers),
            "--timeout", str(limit), "--max-worker-restart", "1000", "--tb", "line",
            "-m", "not browser", f"--junitxml={report}", *files,
        ],
        cwd=folder, env=os.environ | {"PYTHONPATH": paths}, check=False,
    )  # fmt: skip
    return report


def outcome(case: ElementTree.Element) -> str:
    """What came of one test."""
    if case.find("skipped") is not None:
        return "skipped"
    trouble = case.find("failure") if case.find("failure") is not None else case.find("error")
    if trouble is None:
        return "passed"
    kind = trouble.get("message", "").split(":", 1)[0].rsplit(".", 1)[-1].strip()
    return "names what was not there" if kind in NOT_THERE else "failed"


def table(report: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, list[str]]]]:
    """A row for each file, and its tests by what came of them."""
    by_file: dict[str, dict[str, list[str]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for case in ElementTree.parse(report).iter("testcase"):
        by_file[case.get("classname", "").removeprefix("tests.")][outcome(case)].append(case.get("name", ""))
    rows = [
        {"tests": file, "failed": len(of["failed"]), "names what was not there": len(of["names what was not there"]),
         "passed": len(of["passed"]), "skipped": len(of["skipped"])}
        for file, of in sorted(by_file.items())
    ]  # fmt: skip
    return rows, {
        file: {what: sorted(names) for what, names in of.items() if names} for file, of in sorted(by_file.items())
    }


def main() -> int:
    """Lay out, run, show; exit 1 when a file of tests has none that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=3, help="processes of pytest (3)")
    parser.add_argument("--limit", type=int, default=60, help="seconds for each test (60)")
    parser.add_argument("--figures", type=Path, help="write each test by name into this file, as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        report = run(Path(name), lay_out(Path(name)), given.workers, given.limit)
        rows, by_file = table(report)
    console.table(rows)
    if given.figures:
        given.figures.write_text(
            json.dumps({"first": FIRST, "tests": TESTS, "files": by_file}, indent=1, ensure_ascii=False) + "\n"
        )
    return int(any(not row["failed"] and not row["names what was not there"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
