"""The package as a user's editor and type checker see it: a processor, a session, and mistakes that are found."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import opskit
from opskit.settings import GivenSettings, Settings

RIGHT = """
from collections.abc import Mapping
from typing import Any

import opskit
from opskit import doctor, migration, queue, stats


def process(file: opskit.ClaimedFile) -> Mapping[str, Any]:
    with file.open() as stream:
        first = stream.readline()
    if not first:
        raise opskit.Reject("the file is empty")
    with file.completing() as tx:
        tx.execute("INSERT INTO ledger VALUES (%s)", (file.id,))
    return {"bytes": len(first)}


with opskit.connect(env="production", lease_seconds=30) as db:
    migration.migrate(db)
    frame = stats.distribution(db)
    frame.groupby("processing_status").size()
    number: int = queue.enqueue(db, ["a.csv"])
    for finding in doctor.examine(db):
        print(finding.level, finding.mend)
    queue.cleanup(db, actor="ann", reason="node-b lost its disk")
"""
MISTAKES = {
    "a setting that there is not": 'opskit.connect(lease_second=30)',
    "a setting of another type": 'opskit.connect(lease_seconds=[30])',
    "a verb without its database": 'opskit.queue.cleanup(actor="ann")',
    "an attribute that a file has not": "def process(file: opskit.ClaimedFile) -> None: print(file.filename_)",
}  # fmt: skip


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def mypy(tmp_path: Path) -> list[str]:
    cache = Path(__file__).parents[1] / ".mypy_cache" / "user"
    return ["mypy", "--strict", "--cache-dir", str(cache), "--config-file", str(tmp_path / "none.ini"), "user.py"]


@pytest.mark.slow
def test_a_users_program_is_right_for_mypy_and_pyright_and_its_mistakes_are_found(
    tmp_path: Path, mypy: list[str]
) -> None:
    (tmp_path / "none.ini").write_text("[mypy]\n")
    program = tmp_path / "user.py"
    program.write_text(RIGHT)

    by_mypy = run(*mypy, folder=tmp_path)
    by_pyright = run(
        "basedpyright", "--pythonpath", sys.executable, "--level", "error", "--outputjson", "user.py", folder=tmp_path
    )

    assert by_mypy.returncode == 0, by_mypy.stdout
    assert json.loads(by_pyright.stdout)["summary"]["errorCount"] == 0, by_pyright.stdout
    for what, line in MISTAKES.items():
        program.write_text(f"import opskit\n\n{line}\n")
        assert run(*mypy, folder=tmp_path).returncode == 1, f"mypy lets {what} pass"
        found = run(
            "basedpyright",
            "--pythonpath",
            sys.executable,
            "--level",
            "error",
            "--outputjson",
            "user.py",
            folder=tmp_path,
        )
        assert json.loads(found.stdout)["summary"]["errorCount"], f"pyright lets {what} pass"


def test_every_setting_is_a_keyword_of_connect() -> None:
    fields = [field.name for field in dataclasses.fields(Settings)]

    assert sorted(GivenSettings.__annotations__) == sorted(fields)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(opskit.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["opskit", "opskit.queue", "opskit.stats", "opskit.migration", "opskit.doctor"])
def test_completion_offers_what_is_meant(name: str) -> None:
    package = importlib.import_module(name)

    offered = [word for word in dir(package) if not word.startswith("_")]

    assert sorted(set(offered)) == sorted(word for word in package.__all__ if not word.startswith("_"))
    assert all(getattr(package, word) is not None for word in package.__all__)
