"""Reports: statistics, this process, the doctor, a query's SQL."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from opskit import doctor
from opskit.cli.verbs import Verbs
from opskit.database import Database, queries
from opskit.doctor import runbooks
from opskit.queue.error_identity import last_line
from opskit.queue.server_id import server_info
from opskit.settings.command_line import settings_of
from opskit.support import console


def add_info(verbs: Verbs) -> None:
    """Add `opskit info`."""
    verbs.finish(verbs.add("info", info, "show this process: server ID, environment, version"))


def info(given: argparse.Namespace) -> int:
    """Show this process."""
    answer = server_info(settings_of(given))
    if given.json:
        console.as_json(answer)
    else:
        console.table([{"this process": key, "value": str(value)} for key, value in answer.items()])
    return 0


def add_doctor(verbs: Verbs) -> None:
    """Add `opskit doctor`."""
    one = verbs.add("doctor", examine, "say what is wrong and the command that mends it; exit 1 if there is an error")
    one.add_argument(
        "--explain",
        metavar="CONDITION",
        help="print the runbook of a condition, as a finding names it: what it means, where to look, what mends it; "
        "no database is needed",
    )
    verbs.finish(one)


def examine(given: argparse.Namespace) -> int:
    """Show what is wrong; exit code 1 for an error."""
    settings = settings_of(given)
    if given.explain is not None:
        runbook = runbooks.text(given.explain, settings=settings)
        if given.json:
            console.as_json({"condition": given.explain, "runbook": runbook})
        else:
            console.markdown(runbook)
        return 0
    with Database(settings, pooled=False) as db:
        findings = doctor.examine(db)
    if given.json:
        console.as_json({"environment": settings.env, "findings": [finding.facts() for finding in findings]})
    else:
        rows = [
            {key: finding.facts()[key] for key in ("level", "what", "why", "mend", "condition")} for finding in findings
        ]
        console.table(rows, empty=f"all is well ({settings.env})", in_lines=("mend",))
        if findings:
            console.err.print("what to do, step by step: opskit doctor --explain CONDITION")
            if settings.page_url:
                console.err.print(f"or on the page: {settings.page_url.rstrip('/')}/doctor?runbook=CONDITION")
    return 1 if any(finding.level == "error" for finding in findings) else 0


def add_query(verbs: Verbs) -> None:
    """Add `opskit query`."""
    one = verbs.add("query", query, "print a query's SQL, ready for psql")
    one.add_argument("name", metavar="NAME", help="such as distribution")
    one.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)


def query(given: argparse.Namespace) -> int:
    """Print a query's SQL."""
    print(queries.standalone(given.name.replace("-", "_")), end="")
    return 0


def _short(row: Mapping[str, Any], key: str) -> Any:
    """A value for a table: of an error the line that tells it."""
    value = row[key]
    is_error = key == "processing_errors" or (key == "reason" and row.get("kind") == "attempt")
    return last_line(value) if is_error and isinstance(value, str) else value
