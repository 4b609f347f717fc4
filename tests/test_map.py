"""Where is the line that …? Questions of a newcomer, each with the file that answers it and what must stand there.

A reader who has seen only `git ls-files` should name the file at the first try; a file that moves moves here, too.
Where a text has to stand in two files, because psql cannot include a part of a statement, both are right.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUESTIONS = {
    "refuses a claim when the node's lease has run out?":
        ("sql/claim.sql", r"n\.lease_until < now\(\)"),
    "takes a sheet's first row that is not empty for the header, in an Excel file?":
        ("opskit/files/formats/excel.py", r"first row that is not empty is the header"),
    "asks an operator in the browser before failed files are queued again?":
        ("opskit/web/dashboard/dialogs/requeue.py", r"ask\(f\"Requeue "),
    "makes the wait before a failed file is tried again twice as long each time?":
        ("sql/fail.sql", r"retry_seconds'::float8 \* 2 \^"),
    "sets up a new session, and finds out that PgBouncer stands between it and the server?":
        ("opskit/database/session.py", r"def settle\("),
    "compares an API call's bearer token in constant time?":
        ("opskit/web/bearer_token.py", r"hmac\.compare_digest"),
    "needs the secret of the cookie for signing in to the page?":
        ("opskit/web/dashboard/sign_in.py", r"cookie_secret"),
    "judges a claim to be stale, dead or rebooted?":
        ("sql/cleanup.sql sql/stale.sql", r"THEN 'rebooted'"),
    "makes a server ID of host name and process number?":
        ("opskit/queue/server_id.py", r"def _made\("),
    "lets a child process die with its supervisor?":
        ("opskit/support/parent_death.py", r"prctl\("),
    "turns :\"files\" and :'limit' in an SQL file into an identifier and a bound value?":
        ("opskit/database/sql_variables.py", r"\(\?P<name>"),
    "keeps a cell that begins with = from being run by a spreadsheet, in a CSV that the page offers?":
        ("opskit/web/dashboard/downloads.py", r"_FORMULAS = "),
    "understands a server's Retry-After header?":
        ("opskit/files/retry_after.py", r"def seconds_of\("),
    "says which columns each statistic has?":
        ("opskit/stats/columns.py", r"^DISTRIBUTION = "),
    "lists every statistic that shell, API and page offer?":
        ("opskit/stats/catalog.py", r"^STATISTICS: "),
    "keeps the beginning and the end of what a processor writes to stdout, and drops the middle?":
        ("opskit/worker/output.py", r"MOST_BEGINNING = MOST_END"),
    "opens the circuit breaker for an error that concerns every node?":
        ("sql/breaker_open.sql", r"INSERT INTO"),
    "writes \"1 file\" and \"2 files\"?":
        ("opskit/support/wording.py", r"^def count\("),
    "declares the environment variable OPSKIT_LEASE_SECONDS and its flag?":
        ("opskit/settings/variables.py", r"lease_seconds: "),
    "holds that nodes import neither pandas nor Streamlit?":
        ("pyproject.toml tests/test_imports.py", r"A node loads nothing heavy|pandas and plotly belong"),
    "draws a lane for each node, with a bar for each attempt?":
        ("opskit/stats/timeline_figure.py", r"^def timeline\("),
    "prints the page of a doctor's condition, what to look at and what mends it?":
        ("opskit/cli/doctor.py opskit/doctor/runbooks.py", r"runbooks?\.text\(|^def text\("),
    "ends the whole process group of a supervisor's child that is killed?":
        ("opskit/worker/child_process.py", r"killpg"),
}  # fmt: skip
"""Where is the line that …"""


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_line_that_a_newcomer_asks_for_is_where_the_map_says(question: str) -> None:
    paths, pattern = QUESTIONS[question]

    for path in paths.split():
        assert re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE), (path, pattern)


def test_the_map_has_at_least_twenty_questions() -> None:
    assert len(QUESTIONS) >= 20
