"""Runs tests in children that are born with the libraries loaded: loading them takes longer than most tests.

    python nursery.py        in the root of a tree; one JSON object a line in, one a line out

It writes "ready" when all is loaded: only then may the tree be changed. In: {"arguments": of pytest, "environment":
more variables, "seconds": patience, "package": whether a child may be born with opskit loaded, because its Python is
as it was at first}. Out: {"code": pytest's exit code, or -1 when they did not end in time, "output": what it wrote}.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from typing import IO, Any

LIBRARIES = (
    "pytest", "psycopg", "psycopg_pool", "rich.console", "pandas", "plotly.graph_objects",
    "sqlalchemy", "fastapi", "httpx", "fsspec", "streamlit", "streamlit.testing.v1", "playwright.sync_api",
)  # fmt: skip
PACKAGE = (
    "opskit",
    "opskit.migration",
    "opskit.stats",
    "opskit.cli.main",
    "opskit.web.server",
    "opskit.worker.supervisor",
)


def born(arguments: list[str], environment: dict[str, str], output: int) -> int:
    """Start pytest in a child with a session of its own; answer its pid."""
    child = os.fork()
    if child:
        return child
    code = 3
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        import pytest

        code = int(pytest.main(arguments))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(child: int, seconds: float) -> int:
    """The exit code of a child; -1 when it had to be killed."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 3
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def run(arguments: list[str], environment: dict[str, str], seconds: float) -> dict[str, Any]:
    """Run pytest once."""
    with tempfile.TemporaryFile() as file:
        code = ended(born(arguments, environment, file.fileno()), seconds)
        file.seek(0)
        return {"code": code, "output": file.read().decode(errors="replace")}


def serve(jobs: IO[str], results: IO[str]) -> None:
    """Run jobs until there are no more."""
    for line in jobs:
        print(json.dumps(run(**json.loads(line))), file=results, flush=True)


def with_package() -> tuple[IO[str], IO[str]]:
    """Start a second one that has the package loaded; where it takes its jobs, and where its results are read."""
    (jobs, send), (receive, results) = os.pipe(), os.pipe()
    if os.fork():
        os.close(jobs)
        os.close(results)
        done = os.fdopen(receive)
        done.readline()  # it has loaded the package: before, a mutant might be loaded for good
        return os.fdopen(send, "w"), done
    os.close(send)
    os.close(receive)
    for name in PACKAGE:
        importlib.import_module(name)
    from opskit.database import queries

    # What the import read of the SQL files: a mutant may change them.
    for read in (queries.statements, queries.statement, queries.unfiltered):
        read.cache_clear()
    answers_to = os.fdopen(results, "w")
    print("ready", file=answers_to, flush=True)
    serve(os.fdopen(jobs), answers_to)
    os._exit(0)


def main() -> None:
    """Load the libraries, then serve."""
    sys.path[0] = os.getcwd()
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    jobs, results = with_package()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if job.pop("package"):
            print(json.dumps(job), file=jobs, flush=True)
            print(results.readline(), end="", flush=True)
        else:
            print(json.dumps(run(**job)), flush=True)


if __name__ == "__main__":
    main()
