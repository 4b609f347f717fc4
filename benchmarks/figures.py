"""Put the figures of results/goals.json into README, between its two marks: run it after `make bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.md"
GOALS = Path(__file__).parent / "results" / "goals.json"
BEGIN, END = "<!-- figures of benchmarks/results/goals.json -->\n", "<!-- end of figures -->\n"
NOT_YET = (
    "`make bench` measures every goal and writes `benchmarks/results/goals.json`, from which this table is made.\n"
)


def rendered(read: dict[str, Any]) -> str:
    """The sentence and the table for a run's figures."""
    missed = sum(goal["met"] == "MISSED" for goal in read["goals"])
    lines = [
        f"Measured on {read['at'][:10]} on {read['cores']} cores, PostgreSQL {read['postgresql']} on the same machine "
        f"with fsync on, Python {read['python']}, by `{read['command']}`: "
        f"{len(read['goals'])} goals, {missed} missed.\n",
        "| what | goal | measured | ratio | |",
        "|---|---|---|--:|---|",
    ]
    for goal in read["goals"]:
        ratio = "" if goal["ratio"] is None else f"{goal['ratio']:g}"
        cells = (goal["what"], goal["goal"], goal["measured"], ratio, goal["met"])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def block() -> str:
    """What stands between the marks."""
    return rendered(json.loads(GOALS.read_text())) if GOALS.exists() else NOT_YET


def main() -> None:
    """Write it."""
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + block() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
