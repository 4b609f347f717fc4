"""What the doctor finds, and its runbooks."""

from __future__ import annotations

import argparse

from opskit import doctor
from opskit.cli.verbs import Verbs
from opskit.database import Database
from opskit.doctor import runbooks
from opskit.settings.command_line import settings_of
from opskit.support import console


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
