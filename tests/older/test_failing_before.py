"""The tests of this version's rules can be run against the first version, and say what it breaks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.older import failing_before


@pytest.mark.slow
def test_the_first_versions_faults_are_told_from_what_it_does_not_have(tmp_path: Path) -> None:
    try:
        files = failing_before.lay_out(tmp_path)
    except subprocess.CalledProcessError:
        pytest.skip("a shallow clone does not have the first version")

    rows, by_file = failing_before.table(failing_before.run(tmp_path, ["tests/test_listing.py"], workers=2, limit=60))

    (row,) = rows
    assert "tests/test_completing.py" in files
    assert row["failed"] > 0
    assert sum(len(names) for names in by_file["test_listing"].values()) == sum(
        row[what] for what in ("failed", "names what was not there", "passed", "skipped")
    )
