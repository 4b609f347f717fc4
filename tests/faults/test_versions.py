"""Nodes of the version before and of this one work side by side on one table, as during a rolling upgrade."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

from opskit.database import Database
from tests.faults.conftest import Start
from tests.support.nodes import SUPPORT, Node, add_many, ask, record, until
from tests.support.tables import ROOT
from tests.support.waiting import drained, prove

pytestmark = pytest.mark.slow

BEFORE = "0dd09f4"
"""The last commit before the packages: its nodes know none of the columns and tables that came after it."""
FILES = 150


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The code of the version before, with its SQL."""
    found = subprocess.run(
        ["git", "archive", BEFORE, "opskit", "sql"], cwd=ROOT, capture_output=True, check=False, timeout=60
    )
    if found.returncode:
        pytest.skip(f"commit {BEFORE} is not in this clone: {found.stderr.decode().strip()}")
    folder = tmp_path / "older"
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_nodes_of_the_version_before_and_of_this_one_share_a_table_through_kills(
    db: Database, start: Start, older: Path
) -> None:
    record(db)
    add_many(db, FILES)
    rng = random.Random(17)
    # Safe: the folder that pytest runs in would come before PYTHONPATH.
    paths = {"old": f"{older}{os.pathsep}{SUPPORT}", "new": f"{ROOT}{os.pathsep}{SUPPORT}"}
    environ = {"PYTHONSAFEPATH": "1", "ACT_SECONDS": "0.03", "OPSKIT_MAX_FAILURES": "1000"}

    for version, path in paths.items():
        code = "import opskit.worker; print(opskit.worker.__file__)"
        found = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, **environ, "PYTHONPATH": path})
        assert Path(found.decode().strip()).name == {"old": "worker.py", "new": "__init__.py"}[version]

    def node(name: str) -> Node:
        return start(name, act="effect", PYTHONPATH=paths[name[:3]], **environ)

    running = {name: node(name) for name in ("old-1", "new-1", "old-2", "new-2")}
    until(lambda: len(ask(db, "SELECT DISTINCT server_id FROM effects")) == 4, 30, "a file completed by each node")
    for name in ("old-1", "new-1", "new-2", "old-2", "old-1", "new-1"):
        time.sleep(rng.uniform(0.2, 0.6))
        running[name].kill()
        running[name].end()
        running[name] = node(name)
    drained(db, FILES, 90, *running.values())

    prove(db, FILES)
    by = Counter(row["server_id"][:3] for row in ask(db, "SELECT server_id FROM effects"))
    assert min(by["old"], by["new"]) > FILES // 10, by
