"""Durations and counts in words: one wording behind every door."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from opskit.support import wording

PACKAGE = Path(__file__).parents[1] / "opskit"
NOUNS = "file|row|node|claim|lane|event|attempt|statement|group|error|upload|duplicate|index|indexe|column|server|piece"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"), (float("nan"), "–"), (-3, "0 s"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (90, "1 min 30 s"),
        (3600, "1 h"), (3660, "1 h 1 min"), (3605, "1 h"), (86400, "1 d"), (90000, "1 d 1 h"), (8640000, "100 d"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_the_two_units_that_matter(seconds: float | None, said: str) -> None:
    assert wording.span(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(0.44, "0.4 s"), (12.34, "12.3 s"), (59.96, "59 s"), (61, "1 min 1 s")])
def test_a_short_duration_is_told_in_tenths_where_they_matter(seconds: float, said: str) -> None:
    assert wording.span(seconds, fine=True) == said


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("file",), "0 files"), (1, ("file",), "1 file"), (1234, ("file",), "1,234 files"),
        (1, ("file is queued", "files are queued"), "1 file is queued"),
        (2, ("file is queued", "files are queued"), "2 files are queued"),
    ],
)  # fmt: skip
def test_a_count_agrees_with_its_noun_and_its_verb(number: int, words: tuple[str, ...], said: str) -> None:
    assert wording.count(number, *words) == said


def test_a_count_that_was_cut_says_that_there_are_more() -> None:
    assert wording.count(11, "file is queued", "files are queued", most=10) == "more than 10 files are queued"
    assert wording.count(10, "file", most=10) == "10 files"


# There are always several of them, it is a unit, or no number stands before the noun.
SEVERAL = (
    "is the name of", "statements where one is expected", "indexes of the application", "at least", "of the newest",
    "far more than it can hold", "files/s", "{self.settings.env} files", "claims nothing at present", "The first",
    "The newest", "the newest",
)  # fmt: skip


def test_no_sentence_has_a_plural_that_one_may_stand_before() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.JoinedStr):
                continue
            sentence = ast.unparse(node)
            if any(words in sentence for words in SEVERAL):
                continue
            for value, text in zip(node.values, node.values[1:], strict=False):
                counted = isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)
                if counted and re.match(rf" ({NOUNS})s\b", ast.literal_eval(text)):
                    found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {sentence}")
    assert not found, "use wording.count:\n" + "\n".join(found)
