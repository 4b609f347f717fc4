"""Every goal, measured on one PostgreSQL: a table on the screen, figures as JSON, a page with the curves.

`make bench` (a quarter of an hour on a quiet machine) writes results/goals.json; `make bench-quick` (three minutes,
small sizes) writes results/quick.json. The page beside it is made from the JSON and needs nothing but a browser.
`python benchmarks/all.py --subjects drain loads` measures these again and leaves the others as they stand.
"""

from __future__ import annotations

import dataclasses
import html
import json
import sys
import time
from pathlib import Path
from typing import Any

import drain
import growth
import lanes
import latency
import loads
import node
import pinned
import programs
from bench import RESULTS, Finding, Measure, commit, database, machine, show_finding, sizes, write

from opskit.support import console

SUBJECTS: dict[str, Measure] = {
    "drain": drain.measure,
    "latency": latency.measure,
    "node": node.measure,
    "loads": loads.measure,
    "pinned": pinned.measure,
    "programs": programs.measure,
    "lanes": lanes.measure,
    "growth": growth.measure,
}


def main() -> int:
    """Measure, print, write; exit 1 when a goal is missed."""
    given, size = sizes(__doc__, SUBJECTS)
    name = "quick" if given.quick else "goals"
    findings = _before(name) if given.subjects else {}
    with database() as db:
        for subject in given.subjects or SUBJECTS:
            print(f"{subject} …", file=sys.stderr)
            began = time.monotonic()
            try:
                finding = SUBJECTS[subject](db, size)
            except Exception as error:  # one subject that cannot be measured must not cost the others
                finding = Finding()
                finding.goal(subject, "measured", f"{type(error).__name__}: {error}", False)
            show_finding(subject, finding)
            when = {"at": machine()["at"], "seconds": round(time.monotonic() - began), "commit": commit()}
            findings[subject] = dataclasses.asdict(finding) | when
            goals = [goal for each in SUBJECTS if each in findings for goal in findings[each]["goals"]]
            target = write(
                name,
                {
                    "command": f"make bench{'-quick' if given.quick else ''}",
                    "size": dataclasses.asdict(size),
                    "goals": goals,
                    "findings": findings,
                },
            )
    console.table(goals, title="goals")
    print(f"{target}\n{page_of(target)}", file=sys.stderr)
    return 1 if any(goal["met"] == "MISSED" for goal in goals) else 0


def _before(name: str) -> dict[str, Any]:
    """What an earlier run has found, by subject."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text())["findings"] if path.exists() else {}
    return found


def page_of(figures: Path) -> Path:
    """The page made from a JSON file, beside it: it holds all it needs."""
    import plotly.graph_objects as go

    read = json.loads(figures.read_text())
    parts, script = [], True
    for name, finding in read["findings"].items():
        parts.append(f"<h2>{html.escape(name)}</h2>{_table(finding['table'])}")
        if finding["curves"]:
            figure = go.Figure(
                [
                    go.Scatter(x=[x for x, _ in points], y=[y for _, y in points], name=line, mode="lines+markers")
                    for line, points in finding["curves"].items()
                ]
            )
            figure.update_layout(xaxis_title=finding["axes"][0], yaxis_title=finding["axes"][1], height=450)
            parts.append(figure.to_html(full_html=False, include_plotlyjs=script))
            script = False
    stamp = f"{read['at']}, {read['cores']} cores, PostgreSQL {read['postgresql']}, Python {read['python']}"
    target = figures.with_suffix(".html")
    target.write_text(
        f"<!doctype html><meta charset='utf-8'><title>opskit: figures</title>"
        f"<style>{_STYLE}</style><h1>Goals and figures</h1><p>{stamp}, <code>{read['command']}</code></p>"
        f"{_table(read['goals'])}{''.join(parts)}"
    )
    return target


_STYLE = """
    body { font: 15px system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
    table { border-collapse: collapse } td, th { padding: .3em .8em; border-bottom: 1px solid #8884; text-align: left }
    .MISSED { color: #c22; font-weight: bold }"""


def _table(rows: list[dict[str, Any]]) -> str:
    """A table of whatever columns its rows have."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)

    def cell(value: object) -> str:
        text = "" if value is None else html.escape(str(value))
        return f"<td class='{text}'>{text}</td>" if text == "MISSED" else f"<td>{text}</td>"

    body = "".join(f"<tr>{''.join(cell(row.get(name)) for name in names)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


if __name__ == "__main__":
    sys.exit(main())
