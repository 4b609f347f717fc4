"""The conditions of a SQL file: what stands after WHERE, AND, OR, ON, HAVING, WHEN and IF."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutants.kept import Mutant

_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|^[ \t]*\\[^\n]*|:?'(?:[^']|'')*'|:?\"[^\"]*\"|\$\w*\$|[A-Za-z_]\w*|[()\[\];,]|\S",
    re.DOTALL | re.MULTILINE,
)
# What begins a condition, and what ends one at its own depth.
_BEGINS = {"WHERE", "AND", "OR", "ON", "HAVING", "WHEN", "IF"}
_ENDS = _BEGINS | {
    "THEN", "ELSE", "END", "GROUP", "ORDER", "LIMIT", "RETURNING", "UNION", "EXCEPT", "FOR", "JOIN", "LEFT", "CROSS",
    "WINDOW", "SET", "DO", "FETCH", "OFFSET", "AS", "LOOP", "INNER", "RIGHT", "FULL", ",", ";",
}  # fmt: skip
# No conditions: OR REPLACE, ON CONFLICT, a trigger's or an index's ON, IF EXISTS, a value of CASE, an exception's name.
_NO_CONDITION = re.compile(
    r"OR\s+REPLACE\b|ON\s+(CONFLICT|UPDATE|DELETE|COMMIT|true\b)|IF\s+(NOT\s+)?EXISTS\b|IF\s*;"
    r"|ON\s+(?![\w.]+\s*(=|IS\b|IN\b|AND\b))[\w.:\"%]+\s*(\(|FOR\b|FROM\b|TO\b|USING\b|;|WHEN\b|EXECUTE\b|$)"
    r"|WHEN\s+('[^']*'|\d+)\s+THEN\b|WHEN\s+(SQLSTATE|others)\b",
    re.IGNORECASE,
)
_CHANGES = re.compile(r"(?i)\b(INSERT\s+INTO|UPDATE\s+(ONLY\s+)?:|DELETE\s+FROM)")


@dataclass(frozen=True)
class Condition:
    """One condition: where it stands in its file, with the word before it."""

    start: int
    end: int
    text: str


def changes_rows(text: str) -> bool:
    """Whether the SQL of a file inserts, updates or deletes."""
    return _CHANGES.search(re.sub(r"--[^\n]*", "", text)) is not None


def conditions(text: str) -> Iterator[Condition]:
    """The conditions of a file, in their order; one that holds others in parentheses is told by its own first line."""
    tokens = [(found[0].upper(), found.start(), found.end()) for found in _TOKEN.finditer(text)]
    tokens = [
        one for one in tokens if not one[0].startswith(("--", "/*", "\\")) and not one[0].lstrip().startswith("\\")
    ]
    for number, (word, start, _) in enumerate(tokens):
        if word not in _BEGINS or _NO_CONDITION.match(text, start) or _of_between(tokens, number):
            continue
        end, depth = start, 0
        for place, (follower, _, after) in enumerate(tokens[number + 1 :], number + 1):
            depth += follower in ("(", "[", "CASE")
            over = follower in _ENDS or follower in (")", "]")
            if depth == 0 and over and not _of_between(tokens, place):
                break
            depth -= follower in (")", "]", "END")
            end = after
            if depth < 0:
                break
        yield Condition(start, end, " ".join(text[start:end].split()))


def _of_between(tokens: list[tuple[str, int, int]], number: int) -> bool:
    """Whether an AND belongs to BETWEEN."""
    depth = 0
    for word, _, _ in reversed(tokens[:number]) if tokens[number][0] == "AND" else ():
        depth += (word in (")", "]")) - (word in ("(", "["))
        if depth < 0 or (depth == 0 and word in _BEGINS):
            return False
        if depth == 0 and word == "BETWEEN":
            return True
    return False


def span(mutant: Mutant, text: str) -> tuple[int, int]:
    """Where a mutant changes its file: from the first character that differs to the last."""
    changed = mutant.applied(text)
    start = next(
        (n for n, (a, b) in enumerate(zip(text, changed, strict=False)) if a != b), min(len(text), len(changed))
    )
    tail = min(len(text), len(changed)) - start
    alike = next((n for n in range(tail) if text[-1 - n] != changed[-1 - n]), tail)
    return start, max(len(text) - alike, start + 1)
