"""The figures of the fault suite: what failed is counted, and nothing is tried again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = Path(__file__).parent / "faults" / "runs.py"

SUITE = """
import os
import pytest

def test_passes(): pass
def test_fails_in_the_second_run(): assert os.environ["SEED"] != "2"
@pytest.fixture
def broken():
    yield
    raise OSError("teardown")
def test_with_a_broken_fixture(broken): assert os.environ["SEED"] != "2"
@pytest.mark.skip(reason="not here")
def test_is_skipped(): pass
"""


@pytest.mark.slow
def test_every_failure_is_counted_and_none_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    figures = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, str(RUNS), "--times", "2", "--workers", "1", "--figures", str(figures),
         str(tmp_path / "test_suite.py")],
        env={**os.environ, "PYTEST_ADDOPTS": "--reruns 3"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    told = json.loads(figures.read_text())
    assert done.returncode == 1
    assert (told["asked"], told["runs"], told["passed"], told["tests"], told["skipped"]) == (2, 2, 0, 4, 1)
    assert told["failures"] == {
        "test_suite::test_fails_in_the_second_run": 1,
        "test_suite::test_with_a_broken_fixture": 2,
    }
    assert len(told["seconds"]) == 2
    assert "0 of 2 runs passed" in done.stdout
    assert "failed 2 times: test_suite::test_with_a_broken_fixture" in done.stdout


@pytest.mark.slow
def test_a_run_beside_a_load_has_its_line_and_leaves_no_load_behind(tmp_path: Path) -> None:
    suite = "import os, pytest\ndef test_a(): pass\n@pytest.mark.slow\ndef test_b(): assert False\n"
    (tmp_path / "test_suite.py").write_text(suite)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: left out\n")
    command = [sys.executable, str(RUNS), "--times", "2", "--workers", "1", "--load", "2", "--marks", "not slow"]

    with subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True) as runs:
        said, _ = runs.communicate()

    assert runs.returncode == 0, said
    assert "run 1 of 2: 1 passed, 0 failed" in said
    assert "run 2 of 2: 1 passed, 0 failed" in said
    assert session_of(runs.pid) == []


def session_of(leader: int) -> list[str]:
    """The processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stat = path.read_text()
            if int(stat.rpartition(")")[2].split()[3]) == leader:
                found.append(stat)
    return found
