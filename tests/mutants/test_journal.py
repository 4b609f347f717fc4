"""The journal of the mutants: a run that was ended goes on where it stood, on the same commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.journal import Journal, Verdict
from tests.mutants.kept import Mutant
from tests.mutants.run import failed, killers

ONE, OTHER = Mutant("sql/a.sql", "x", "y", ()), Mutant("sql/a.sql", "x", "z", ())
KILLED = Verdict(str(ONE), ONE.key, "killed", 1.5, "tests/a.py::test_a")


def test_mutants_of_one_file_and_one_text_are_told_apart() -> None:
    assert len({ONE.key, OTHER.key, Mutant("sql/b.sql", "x", "y", ()).key}) == 3


def test_a_run_takes_what_was_killed_on_its_own_commit_and_of_its_own_mutants(tmp_path: Path) -> None:
    journal = Journal("c0ffee", tmp_path)
    journal.note(KILLED)
    journal.note(replace(KILLED, key=OTHER.key, end="survived", killer=""))

    assert Journal("c0ffee", tmp_path).killed([ONE, OTHER]) == {ONE.key: KILLED}
    assert Journal("c0ffee", tmp_path).killed([OTHER]) == {}
    assert Journal("another", tmp_path).killed([ONE, OTHER]) == {}


def test_a_run_of_a_tree_that_is_not_committed_keeps_nothing(tmp_path: Path) -> None:
    Journal("", tmp_path).note(KILLED)

    assert list(tmp_path.iterdir()) == []
    assert Journal("", tmp_path).killed([ONE]) == {}


def test_a_line_that_was_cut_off_by_the_end_of_a_run_is_no_verdict(tmp_path: Path) -> None:
    Journal("c0ffee", tmp_path).note(KILLED)
    with (tmp_path / "c0ffee.jsonl").open("a") as file:
        file.write('{"mutant": "sql/a.sql: x -> z", "end": "kil')
    again = Journal("c0ffee", tmp_path)

    assert again.killed([ONE, OTHER]) == {ONE.key: KILLED}
    again.note(replace(KILLED, key=OTHER.key))
    assert set(again.killed([ONE, OTHER])) == {ONE.key, OTHER.key}


def test_the_test_that_is_tried_first_is_the_last_that_killed_on_any_commit(tmp_path: Path) -> None:
    Journal("c0ffee", tmp_path).note(KILLED)
    assert killers(tmp_path, tmp_path / "none.json") == {ONE.key: "tests/a.py::test_a"}
    Journal("c0ffee", tmp_path).note(replace(KILLED, killer="tests/b.py::test_b"))
    Journal("c0ffee", tmp_path).note(replace(KILLED, killer="out of time"))

    assert killers(tmp_path, tmp_path / "none.json") == {ONE.key: "tests/b.py::test_b"}


@pytest.mark.parametrize(
    "name", ["tests/a.py::test_a", "tests/a.py::test_a[x]", "tests/a.py::test_a[at = now() - interval '1 h']"]
)
def test_the_test_that_failed_is_named_with_its_case(name: str) -> None:
    assert failed(f"..F\nFAILED {name} - assert 1 == [2] - 3\n1 failed") == name
    assert failed(f"ERROR {name}\n") == name
    assert failed("all went well") == ""
