"""Which package imports which: the contracts in pyproject.toml."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_every_package_imports_only_lower_ones_and_libraries_of_its_own() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("path", "line", "broken"),
    [
        ("queue/claims.py", "import opskit.worker.child", "A package imports only lower ones"),
        ("files/kinds.py", "import opskit.database", "A package imports only lower ones"),
        ("queue/stored.py", "import opskit.queue.claims", "No circles, in no package"),
        ("queue/claims.py", "import pandas", "pandas and plotly belong to stats and web"),
        ("unheard_of.py", "", "A package imports only lower ones"),
    ],
)
def test_an_import_that_climbs_is_found(tmp_path: Path, path: str, line: str, broken: str) -> None:
    shutil.copytree(ROOT / "opskit", tmp_path / "opskit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "opskit" / path).open("a") as file:
        file.write(f"\n{line}\n")

    done = lint_imports(tmp_path)

    assert done.returncode != 0
    assert f"{broken} BROKEN" in done.stdout


def test_the_page_launcher_holds_nothing_but_the_launch() -> None:
    lines = [line for line in (ROOT / "app.py").read_text(encoding="utf-8").splitlines() if line.strip()]

    assert len(lines) < 30
    assert any(line.startswith("app = st.App(") for line in lines)
