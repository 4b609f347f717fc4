"""Every goal, measured on one PostgreSQL: a table on the screen, figures as JSON, a page with the curves.

`make bench` (about an hour) writes results/goals.json; `make bench-quick` (about three minutes, small sizes)
writes results/quick.json. The page beside it is made from the JSON and needs nothing but a browser.
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
import latency
import loads
import node
import pinned
from bench import Finding, Measure, database, show_finding, sizes, write

from opskit import show

SUBJECTS: dict[str, Measure] = {
    "drain": drain.measure,
    "latency": latency.measure,
    "node": node.measure,
    "loads": loads.measure,
    "pinned": pinned.measure,
    "growth": growth.measure,
}


def main() -> int:
    """Measure, print, write; exit 1 when a goal is missed."""
    given, size = sizes(__doc__)
    began, findings = time.monotonic(), {}
    with database() as db:
        for name, measure in SUBJECTS.items():
            print(f"{name} …", file=sys.stderr)
            try:
                findings[name] = measure(db, size)
            except Exception as error:  # one subject that cannot be measured must not cost the others
                findings[name] = Finding()
                findings[name].goal(name, "measured", f"{type(error).__name__}: {error}", False)
            show_finding(name, findings[name])
    goals = [goal for finding in findings.values() for goal in finding.goals]
    show.table(goals, title="goals")
    name = "quick" if given.quick else "goals"
    content = {
        "command": f"make bench{'-quick' if given.quick else ''}",
        "seconds": round(time.monotonic() - began),
        "size": dataclasses.asdict(size),
        "goals": goals,
        "findings": {key: dataclasses.asdict(finding) for key, finding in findings.items()},
    }
    target = write(name, content)
    page = page_of(target)
    print(f"{target}\n{page}", file=sys.stderr)
    return 1 if any(goal["met"] == "MISSED" for goal in goals) else 0


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
