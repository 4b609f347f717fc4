"""What comments, docstrings and documentation name is there: files, functions and the modules of a package."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A path from the top of the project; what a plan, a pattern or an example means is none.
_PATH = re.compile(r"(?<![\w/.:-])(?:opskit|sql|tests|docs|benchmarks|examples|notebooks|\.ci)/[\w./-]*\w(?![\w*{])")
_MADE = {"docs/runbooks/CONDITION.md", "benchmarks/results/quick.json"}
# `module.name`, and what is named so of other packages and of objects.
_NAME = re.compile(r"`([a-z_]+)\.([A-Za-z_]\w*)`")
_OTHERS = {"db", "file", "os", "pandas", "plotly", "signal", "st", "subprocess"}


@cache
def listed() -> tuple[str, ...]:
    """Every file of the project that git knows, or would."""
    command = ["git", "-c", "core.quotePath=false", "ls-files", "--cached", "--others", "--exclude-standard"]
    return tuple(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines())


def texts() -> list[str]:
    """The package, its SQL, its notebooks' helpers and its documentation; the changelog tells of what was."""
    kept = (".py", ".sql", ".md", ".ts", ".yml", ".yaml")
    return [
        path for path in listed()
        if path.endswith(kept) and not path.startswith(("tests/", "benchmarks/")) and path != "CHANGELOG.md"
    ]  # fmt: skip


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_file_that_a_text_names_is_there() -> None:
    there = {part for path in listed() for part in (path, *map(str, Path(path).parents))}

    lost = [
        (path, named)
        for path in texts()
        for named in _PATH.findall((ROOT / path).read_text(encoding="utf-8"))
        if named not in there | _MADE and f"{named}.py" not in there
    ]

    assert lost == []


def modules() -> dict[str, set[str]]:
    """The modules of the package by their own name, and what each knows by name."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "opskit").rglob("*.py"):
        name = path.parent.name if path.stem == "__init__" else path.stem
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.setdefault(name, set()).add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.setdefault(name, set()).add(node.id)
            elif isinstance(node, ast.alias):
                found.setdefault(name, set()).add((node.asname or node.name).rpartition(".")[2])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.setdefault(name, set()).add(node.value)  # an entry of __all__, or one that is imported late
    return found


def test_a_function_that_a_docstring_names_is_there() -> None:
    known = modules()

    lost = [
        (str(path.relative_to(ROOT)), f"{module}.{name}")
        for path in sorted((ROOT / "opskit").rglob("*.py"))
        for module, name in _NAME.findall(path.read_text(encoding="utf-8"))
        if module not in _OTHERS and name not in {"py", "sql", "md", "toml"} | known.get(module, set())
    ]

    assert lost == []


def test_the_migrations_list_of_its_modules_is_whole() -> None:
    package = importlib.import_module("opskit.migration")

    told = re.findall(r"^ {4}(\w+) {2}", package.__doc__ or "", flags=re.MULTILINE)

    assert sorted(told) == sorted(path.stem for path in Path(*package.__path__).glob("[!_]*.py"))
