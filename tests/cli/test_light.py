"""What a verb loads: a command that an operator types at night must not load what a page or a notebook needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from opskit import stats
from opskit.cli.tables import plain
from opskit.database import Database
from opskit.queue import claims
from opskit.queue.server_id import Boot
from opskit.stats.catalog import STATISTICS
from tests.support.tables import boot, claim, environ, fail, files

HEAVY = (
    "pandas", "numpy", "pyarrow", "plotly", "sqlalchemy", "streamlit", "fastapi", "pydantic", "fsspec", "psycopg_pool",
    "pygments", "markdown_it", "rich.progress", "shtab",
    "opskit.jupyter", "opskit.web", "opskit.worker", "opskit.local",
)  # fmt: skip
# What a look at statistics, a file or a log needs none of, beside those: what acts, and what is read of errors.
ACTING = ("opskit.queue.error_identity", "opskit.queue.enqueuing", "opskit.files.claimed", "opskit.migration")

RUN = """
import contextlib, io, json, sys
from opskit.cli.main import main

words, names = json.loads(sys.argv[1]), json.loads(sys.argv[2])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as told:
    code = main(words)
print(json.dumps([code, [name for name in names if name in sys.modules], told.getvalue()]))
"""


def loaded(db: Database, *words: str, names: tuple[str, ...] = HEAVY) -> list[str]:
    """Which of these modules a verb has loaded when it is done."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, json.dumps(words), json.dumps(names)],
        env=environ(db.settings), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    code, found, told = json.loads(done.stdout)
    assert code == 0, told
    return list(found)


@pytest.fixture
def busy(db: Database) -> Database:
    """One file completed, one failed, one in processing, one queued."""
    files(db, "one.csv", "two.csv", "three.csv", "four.csv")
    nodes = [boot(db, name) for name in ("node-a", "node-b", "node-c")]
    (id, token), (other, of_other), _ = (_claimed(db, node) for node in nodes)
    claims.complete(db, id=id, token=token)
    fail(db, other, of_other, error="Traceback:\n  File work.py\nValueError: line 7 is bad", max_failures=1)
    return db


def _claimed(db: Database, node: Boot) -> tuple[str, str]:
    answer = claim(db, node)
    assert answer.row is not None
    return answer.row["id"], answer.token


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("name", ["all", *STATISTICS])
def test_a_statistic_loads_nothing_but_the_driver_and_the_terminal(busy: Database, name: str) -> None:
    assert loaded(busy, "stats", name, names=(*HEAVY, *ACTING)) == []


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    "words",
    [
        ("file", "1"),
        ("logs", "1"),
        ("cancel", "4", "--dry-run"),
        ("requeue", "--failed", "--dry-run"),
        ("cleanup", "--dry-run"),
        ("doctor",),
        ("watch", "--once"),
        ("pause", "--all"),
        ("expedite", "4"),
    ],
    ids=lambda words: words[0],
)
def test_a_verb_loads_nothing_that_only_others_need(busy: Database, words: tuple[str, ...]) -> None:
    assert loaded(busy, *words) == []


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("name", STATISTICS)
def test_the_rows_that_the_shell_reads_are_those_of_the_frame(busy: Database, name: str) -> None:
    one = STATISTICS[name]

    rows = [plain(row) for row in one.rows(busy)]

    frame = stats.records(one(busy))
    moving = {"as_of", "counted_at", "seconds_since_heartbeat", "minutes_processing", "minutes_without_progress",
              "oldest_queued_seconds", "ended_at"}  # fmt: skip
    moving |= {"bucket_start"} if name == "trends" else set()
    assert len(rows) == len(frame)
    for row, framed in zip(rows, frame, strict=True):
        assert list(row) == list(framed)
        assert {k: v for k, v in row.items() if k not in moving} == {k: v for k, v in framed.items() if k not in moving}


ENDS = """
import atexit, gc, importlib.metadata, sys
atexit.register(lambda: print(gc.get_freeze_count() > 10_000))  # called last of all
sys.argv = ["opskit", "--version"]
(command,) = importlib.metadata.entry_points(group="console_scripts", name="opskit")
command.load()()
"""


def test_the_command_ends_without_a_last_search_of_all_that_it_has_loaded() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", ENDS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[-1] == "True"
