"""The kept list of mutants fits the tree: each text is there once, each test too, and nothing is killed by its form."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from opskit.database.queries import statements
from opskit.database.sql_variables import Statement
from tests.mutants import kept as listed
from tests.mutants.copies import Copy, arguments
from tests.mutants.kept import ROOT, MisfitError, Mutant, kept


@pytest.fixture(scope="module")
def mutants() -> list[Mutant]:
    """The list."""
    return kept()


def test_each_mutant_of_the_list_applies_and_differs_from_all_others(mutants: list[Mutant]) -> None:
    changed = [(mutant.file, mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))) for mutant in mutants]

    assert len(set(changed)) == len(mutants) >= 150
    assert all(text != (ROOT / file).read_text(encoding="utf-8") for file, text in changed)


def test_the_tests_of_each_mutant_exist(mutants: list[Mutant]) -> None:
    def is_there(test: str) -> bool:
        file, _, name = test.partition("::")
        return (ROOT / file).is_file() and f"def {name}(" in (ROOT / file).read_text() + "def ("

    assert [test for test in {test for mutant in mutants for test in mutant.tests} if not is_there(test)] == []


def test_a_mutant_of_python_is_python(mutants: list[Mutant]) -> None:
    for mutant in mutants:
        if mutant.file.endswith(".py"):
            ast.parse(mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8")), mutant.file)


def test_a_mutant_of_sql_takes_the_same_values(
    mutants: list[Mutant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that no longer takes a value is refused before it runs: that would say nothing about the tests.
    def values(text: str) -> set[str]:
        (tmp_path / "one.sql").write_text(text, encoding="utf-8")
        statements.cache_clear()
        found: tuple[Statement, ...] = statements("one")
        return {value for statement in found for value in statement.values}

    monkeypatch.setattr("opskit.database.queries.FOLDER", tmp_path)
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in {mutant.file for mutant in mutants}}
    taken = {file: values(text) for file, text in texts.items() if file.endswith(".sql")}
    for mutant in mutants:
        if mutant.file in taken:
            assert values(mutant.applied(texts[mutant.file])) == taken[mutant.file], mutant
    statements.cache_clear()


@pytest.mark.parametrize(("text", "times"), [("neither here nor there", 0), ("a", 3)])
def test_a_mutant_whose_text_is_not_there_once_is_refused_by_its_name(text: str, times: int) -> None:
    with pytest.raises(MisfitError, match=f"sql/none.sql holds this text {times} times, not once: {text}"):
        Mutant("sql/none.sql", text, "b", ()).applied("banana")


@pytest.mark.parametrize("entry", ["- one\n", "+ one\n", "one\n", "- one\n- two\n\n- three\n+ four\n\n+ five\n"])
def test_a_list_that_says_not_what_becomes_what_is_refused(tmp_path: Path, entry: str) -> None:
    (tmp_path / "one.toml").write_text(f"[[\"a.sql\"]]\ntests = []\nmutants = '''\n{entry}'''\n")

    with pytest.raises(MisfitError):
        listed.kept(tmp_path)


@pytest.mark.slow
def test_a_program_in_a_copy_of_the_tree_finds_the_copy_whatever_its_environment(tmp_path: Path) -> None:
    copy = Copy(tmp_path)

    assert copy.where_opskit_is() == tmp_path / "tree" / "opskit"
    mutant = Mutant("opskit/__init__.py", MUTANTS_MARK, f"raise ImportError('loud')\n{MUTANTS_MARK}", ())
    with copy.changed(mutant), pytest.raises(Exception, match="exit status 1"):
        copy.where_opskit_is()
    assert copy.where_opskit_is() == tmp_path / "tree" / "opskit"


MUTANTS_MARK = "from opskit._version import"


@pytest.mark.slow
def test_what_is_changed_in_a_tree_is_not_in_the_package_that_was_loaded_before(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "0")
    nursery = copy.nursery()
    (copy.root / "opskit" / "web" / "authorization.py").write_text("raise SystemExit\n")
    job = {"arguments": arguments(("tests/web/test_access_rules.py",), folder=tmp_path / "files"), "environment": {}}

    told, _ = nursery.communicate(f"{json.dumps({**job, 'seconds': 60, 'package': True})}\n", timeout=120)

    assert json.loads(told)["code"] == 0, told
