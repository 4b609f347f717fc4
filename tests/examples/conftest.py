"""The example in TypeScript, compiled as its README says, and its programs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from tests.support.nodes import SUPPORT
from tests.support.pages import ROOT

QUERIES = (
    "register", "heartbeat", "claim", "complete", "complete_and_claim", "fail", "release", "held", "advance",
    "deregister",
)  # fmt: skip
Program = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed and compiled as its README says; the tests' own control beside it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js on this machine")
    folder = tmp_path_factory.mktemp("typescript") / "example"
    shutil.copytree(
        ROOT / "examples" / "typescript", folder, ignore=shutil.ignore_patterns("node_modules", "dist", "sql")
    )
    shutil.copy(SUPPORT / "unfenced.ts", folder / "src")
    installed = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
    if installed.returncode and any(word in installed.stderr for word in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN")):
        pytest.skip("the registry of npm cannot be reached")
    assert installed.returncode == 0, installed.stderr
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    for script in ("queries", "build"):
        done = subprocess.run(
            ["npm", "run", "-s", script], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert {each.stem for each in (folder / "sql").iterdir()} == set(QUERIES)
    return folder


@pytest.fixture
def launch(example: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start one of the example's programs on a database; it is killed at the end."""
    started = []

    def launch(db: Database, script: str, *flags: str, name: str, **environ: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}-{time.monotonic_ns()}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    ["node", str(example / "dist" / script), *flags],
                    env={**os.environ, **db.settings.environ(), "NODE_ID": name, **environ},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
        return started[-1]

    yield launch
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


@pytest.fixture
def start(db: Database, launch: Program) -> Program:
    """Start one of the example's programs on the tests' database."""

    def start(script: str, *flags: str, name: str = "ts", **environ: str) -> subprocess.Popen[bytes]:
        return launch(db, script, *flags, name=name, **environ)

    return start


def listens(port: int) -> bool:
    """Whether somebody answers on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
