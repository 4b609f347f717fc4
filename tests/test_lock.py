"""The lock holds what pyproject.toml asks for; its audit can fail, and admits when it cannot know."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([\w.+!]+)", LOCK)}


def asked_for() -> list[Requirement]:
    """What the package and the extras that `make test` installs ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["ui"], *extras["embedded"], *extras["formats"], *extras["dev"]]
    return [Requirement(text) for text in texts if not text.startswith("opskit[")]


@pytest.mark.parametrize("wanted", asked_for(), ids=str)
def test_what_is_asked_for_is_locked_at_a_version_that_will_do(wanted: Requirement) -> None:
    pin = PINS.get(canonicalize_name(wanted.name))

    assert pin is not None, f"{wanted.name} is not locked; run: make lock"
    assert wanted.specifier.contains(pin, prereleases=True), f"{wanted} is locked at {pin}; run: make lock"


def test_the_lock_holds_pins_and_no_index_is_named() -> None:
    lines = LOCK.splitlines()[1:]

    assert len(lines) == len(PINS) > 50
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+!]+", line) for line in lines)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("knows", "finds", "code", "says"),
    [
        (True, False, 0, "nothing found"),
        (True, True, 1, "GHSA-of-today"),
        (False, False, 0, "the vulnerability data cannot be reached from here; nothing was audited"),
    ],
    ids=["clean", "vulnerable", "no data"],
)
def test_the_audit_fails_on_a_finding_and_admits_when_it_knows_nothing(
    tmp_path: Path, knows: bool, finds: bool, code: int, says: str
) -> None:
    program = tmp_path / "pip-audit"
    canary = "echo CVE-2018-18074; exit 1" if knows else "echo No known vulnerabilities found; exit 0"
    locked = "echo GHSA-of-today; exit 1" if finds else "echo nothing found; exit 0"
    program.write_text(f'#!/bin/sh\ncase "$*" in\n  *canary*) {canary};;\n  *requirements.lock*) {locked};;\nesac\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    done = subprocess.run(
        [ROOT / ".ci" / "audit"],
        env={**os.environ, "PIP_AUDIT": str(program)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, says in done.stdout) == (code, True)
