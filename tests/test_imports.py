"""Which package imports which: the contracts in pyproject.toml."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_every_package_imports_only_lower_ones_and_libraries_of_its_own() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout


CLIMBING = {
    "queue/claims.py": ["import opskit.worker.child", "import pandas"],
    "files/kinds.py": ["import opskit.database"],
    "queue/stored.py": ["import opskit.queue.claims"],
    "unheard_of.py": [],
}
FOUND = {
    "A package imports only lower ones": [
        "- opskit.queue.claims -> opskit.worker.child (",
        "- opskit.files.kinds -> opskit.database (",
        "- opskit.unheard_of",
    ],
    "No circles, in no package": ["- .stored -> .claims ("],
    "pandas and plotly belong to stats and web": ["opskit.queue.claims -> pandas ("],
}


def test_an_import_that_climbs_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "opskit", tmp_path / "opskit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, lines in CLIMBING.items():
        with (tmp_path / "opskit" / path).open("a") as file:
            file.write("\n".join(["", *lines, ""]))

    done = lint_imports(tmp_path)

    assert done.returncode != 0
    _, _, broken = done.stdout.partition("Broken contracts")
    for contract, imports in FOUND.items():
        assert f"{contract} BROKEN" in done.stdout
        # What is said of a contract follows its underlined name.
        said = broken.partition(f"{contract}\n{'-' * len(contract)}\n")[2].partition("\n---")[0]
        assert [each for each in imports if each not in said] == [], said


def test_the_page_launcher_holds_nothing_but_the_launch() -> None:
    lines = [line for line in (ROOT / "app.py").read_text(encoding="utf-8").splitlines() if line.strip()]

    assert len(lines) < 30
    assert any(line.startswith("app = st.App(") for line in lines)
