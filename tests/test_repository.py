"""What people look for in a repository: the package's metadata, the changelog, the hooks before a commit."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_classifiers_name_the_pythons_that_are_supported() -> None:
    named = [one.rpartition(" :: ")[2] for one in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    page = (ROOT / "docs" / "design" / "versions.md").read_text(encoding="utf-8")

    assert PROJECT["requires-python"] == f">={named[0]}"
    assert f"| Python | {', '.join(named)} |" in page
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert len(PROJECT["keywords"]) == len(set(PROJECT["keywords"])) >= 5


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\[?\d+\.\d+\.\d+\]?( - \d{4}-\d\d-\d\d)?", heading) for heading in headings[1:])


def test_the_hooks_before_a_commit_are_valid_and_fetch_nothing() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    checked = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(path)], capture_output=True, text=True, check=False
    )
    hooks = [(repo["repo"], hook) for repo in yaml.safe_load(path.read_text())["repos"] for hook in repo["hooks"]]

    assert checked.returncode == 0, checked.stdout
    assert {repo for repo, _ in hooks} == {"local"}
    for _, hook in hooks:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/"), hook
        assert (Path(sys.executable).parent / Path(program).name).exists(), hook
