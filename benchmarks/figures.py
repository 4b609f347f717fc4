"""Put the figures of the last runs into the pages that show them, between two marks each: run it after a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
END = "<!-- end of figures -->\n"


def begin(name: str) -> str:
    """The mark before the figures of a run."""
    return f"<!-- figures of benchmarks/results/{name}.json -->\n"


def goals(read: dict[str, Any]) -> str:
    """The sentence and the table for a run of every goal."""
    missed = sum(goal["met"] == "MISSED" for goal in read["goals"])
    told = (
        f"Measured on {_machine(read, 'with fsync on')}, by `{read['command']}`: "
        f"{len(read['goals'])} goals, {missed} missed."
    )
    cells = [(goal["what"], goal["goal"], goal["measured"], goal["ratio"], goal["met"]) for goal in read["goals"]]
    return told + "\n\n" + _table(("what", "goal", "measured", "ratio", ""), "lllrl", cells)


def lines(read: dict[str, Any]) -> str:
    """The sentence and the table for a run that is told in lines: rows of the same keys."""
    names = list(read["rows"][0])
    sides = "".join("l" if isinstance(value, str) else "r" for value in read["rows"][0].values())
    return f"Measured on {_machine(read)}.\n\n" + _table(names, sides, [list(row.values()) for row in read["rows"]])


def readers(read: dict[str, Any]) -> str:
    """The sentence and the table of the ways to load each format."""
    told = f"Measured on {_machine(read, 'with fsync on')}, by `python benchmarks/readers.py`."
    names = ("format", "rows", "MB", "way", "seconds", "peak [MB]", "same rows")
    said = {True: "yes", False: "NO", None: ""}
    cells = [[said[row[name]] if name == "same rows" else row[name] for name in names] for row in read["rows"]]
    goals = [(goal["what"], goal["goal"], goal["measured"], goal["met"]) for goal in read["goals"]]
    return f"{told}\n\n{_table(names, 'lrrlrrl', cells)}\n{_table(('what', 'goal', 'measured', ''), 'llrl', goals)}"


SHOWN: dict[str, tuple[Path, Callable[[dict[str, Any]], str]]] = {
    "goals": (HERE.parent / "docs" / "design" / "performance.md", goals),
    "readers": (HERE.parent / "docs" / "design" / "performance.md", readers),
    "page": (HERE / "README.md", lines),
    "page-by-page": (HERE / "README.md", lines),
    "page-views": (HERE / "README.md", lines),
}
"""Where a run's figures are shown, and how."""


def block(name: str) -> str:
    """What stands between the marks of a run."""
    return SHOWN[name][1](json.loads((RESULTS / f"{name}.json").read_text()))


def _machine(read: dict[str, Any], how: str = "") -> str:
    server = f"PostgreSQL {read['postgresql']} on the same machine{how and ' ' + how}"
    return f"{read['at'][:10]} on {read['cores']} cores, {server}, Python {read['python']}"


def _table(names: Iterable[str], sides: str, rows: Iterable[Iterable[object]]) -> str:
    ruler = ["--:" if side == "r" else "---" for side in sides]
    drawn = [list(names), ruler, *([_cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in drawn)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def main() -> None:
    """Write them."""
    for name, (target, _) in SHOWN.items():
        before, rest = target.read_text().split(begin(name))
        target.write_text(before + begin(name) + block(name) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
