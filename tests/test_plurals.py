"""A count and its words agree, also where there is one: every count goes through `wording.count`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOUNS = (
    "file|row|node|claim|lane|event|attempt|statement|group|error|upload|duplicate|index|indexe|column|server|piece|"
    "connection|standby|notebook|character|lock|other|try|cell|level|folder|link|page|table|process|token|key|"
    "chart|setting|member|variable|update|trigger|part|failure|cleanup|restart|kill|second look"
)
# A number, at most two words beside it, and a noun or a verb for several.
AFTER = re.compile(rf" (?:[a-z]+ ){{0,2}}(?:{NOUNS})s\b")
VERB = re.compile(r" (?:[a-z]+ )?(?:are|were|have)\b")
IN_PERCENT = re.compile(rf"%d (?:[a-z]+ ){{0,2}}(?:{NOUNS})s\b|%d (?:are|were|have)\b")
IN_SQL = re.compile(rf"%s (?:[a-z]+ ){{0,2}}(?:{NOUNS})s\b|\|\| ' (?:[a-z]+ )?(?:{NOUNS})s\b")
# There are always several, no number stands before the noun, the noun is a verb, or clients have been told so for ever.
SEVERAL = (
    "stale processing locks", "is the name of", "statements where one is expected", "indexes of the application",
    "at least", "of the newest", "far more than it can hold", "files/s", "{self.settings.env} files", "The newest",
    "the newest", "updates of", "dead rows", "of {now['live']} live nodes", "cells under a header", "The first",
    "more columns than a table", "has no columns", "levels deep", "more than {_MOST_PARTS} parts", "sample files",
    "has no lanes", "has rows already", "claims nothing at present", "links that lead", "characters long; at most",
)  # fmt: skip


def sentences() -> Iterator[tuple[str, str]]:
    """Where a sentence with a plural after a number stands, and the sentence."""
    for path in sorted((ROOT / "opskit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and IN_PERCENT.search(node.value):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
            if not isinstance(node, ast.JoinedStr):
                continue
            for value, text in zip(node.values, node.values[1:], strict=False):
                if not (isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)):
                    continue
                if re.match(r"(wording\.)?count\(", ast.unparse(value.value)):
                    continue
                is_number = re.search(r"\blen\(|\bcount\b|\bnumber\b", ast.unparse(value.value)) is not None
                follows = str(text.value)
                if AFTER.match(follows) or (is_number and VERB.match(follows)):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node)
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if IN_SQL.search(line) and not re.search(r"CASE .* WHEN 1 THEN", line):
                yield f"{path.relative_to(ROOT)}:{number}", line.strip()


def test_every_count_agrees_with_its_words_where_there_is_one() -> None:
    found = [f"{place}: {text}" for place, text in sentences() if not any(words in text for words in SEVERAL)]

    assert not found, "use wording.count:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [" stale claims", " files", " more servers not shown", " rows of it were kept", " synchronous standbys must"],
)
def test_the_search_sees_a_plural_behind_words(text: str) -> None:
    assert AFTER.match(text)
