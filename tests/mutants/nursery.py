"""Runs tests in children that are born with the libraries loaded: loading them takes longer than most tests.

    python nursery.py        in the root of a tree; one JSON object a line in, one a line out

In: {"arguments": of pytest, "environment": more variables, "seconds": patience}. Out: {"code": pytest's exit code, or
-1 when they did not end in time, "output": what it wrote}. Nothing of the tree itself is loaded before a child is born.
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
from typing import Any

LIBRARIES = (
    "pytest", "psycopg", "psycopg_pool", "rich.console", "pandas", "plotly.graph_objects",
    "sqlalchemy", "fastapi", "httpx", "fsspec", "streamlit", "streamlit.testing.v1", "playwright.sync_api",
)  # fmt: skip


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


def main() -> None:
    """Load the libraries, then serve."""
    sys.path[0] = os.getcwd()
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
