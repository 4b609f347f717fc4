"""The figures of the fault suite: what failed is counted, and nothing is tried again."""

from __future__ import annotations

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
