"""Page, API, shell, psql, notebook and Python give the same numbers, and each panel says where its own come from."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from opskit import queue, stats
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.settings import Settings
from opskit.web.api.app import create_api
from opskit.web.dashboard import downloads, readings, sources
from tests.support.dashboard import Open, execute, fine, old_claim, said
from tests.support.tables import ask_psql, psql
from tests.support.tables import opskit as tables_opskit

PAGES = [
    "overview.py", "nodes.py", "files.py", "failures.py", "cleanup.py", "timeline.py", "doctor.py", "history.py",
]  # fmt: skip


# -- where the numbers come from ------------------------------------------------------------------

VOLATILE = re.compile(
    r"seconds_since|_per_minute$|oldest_queued_seconds|^minutes_|^as_of$|^counted_at$|^ended_at$|^beat_at$|^example$"
)
"""What differs from one moment to the next: ages, and the ends of what still runs."""


@pytest.fixture
def busy(full: Database) -> Database:
    """A full database whose every statistic has something to say."""
    old_claim(full, "stale.csv", 120)
    (bad,) = execute(full, "SELECT id::text AS id FROM {files} WHERE original_filename = 'bad.csv'")
    queue.requeue(full, [bad["id"]], actor="ann", reason="parser mended")
    return full


def plain(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Rows as text, without what changes from moment to moment, in an order of their own."""
    shown = [
        {name: _as_text(value) for name, value in row.items() if not VOLATILE.search(name)}
        for row in rows
    ]  # fmt: skip
    return sorted(shown, key=lambda row: sorted(row.items()))


def _as_text(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    text = {True: "t", False: "f"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    if re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", text):
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat(timespec="milliseconds")
    return f"{float(text):g}" if re.fullmatch(r"\d+\.\d+", text) else text


def asked_api(db: Database, path: str) -> Any:
    """What the API answers, without a network."""

    async def ask() -> Any:
        transport = httpx.ASGITransport(create_api(db, db.settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            return answer.json()

    return asyncio.run(ask())


def snake(row: dict[str, Any]) -> dict[str, Any]:
    return {re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name): value for name, value in row.items()}


def in_a_notebook(cell: str, db: Database) -> Any:
    """What a notebook shows under a cell: its last expression."""
    found: dict[str, Any] = {"opskit": SimpleNamespace(connect=lambda: db)}
    *before, last = re.sub(r"^import opskit$", "", cell, flags=re.MULTILINE).strip().splitlines()
    exec("\n".join(before), found)
    return eval(last, found)


# The table of these tests has no lanes.
NAMES = [
    name
    for name, of in sources.SOURCES.items()
    if of.python.startswith("stats.") and name not in ("claims", "lanes", "lane_work")
]


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("name", NAMES)
def test_page_api_notebook_shell_psql_and_python_give_the_same_numbers(
    open_page: Open, busy: Database, settings: Settings, name: str
) -> None:
    of = sources.SOURCES[name]
    expected = plain(stats.records(getattr(stats, name)(busy)))
    assert expected, "nothing to compare"

    open_page()
    reading = readings.read(name)
    assert plain(stats.records(reading.frame)) == expected  # type: ignore[arg-type]
    assert plain(stats.records(in_a_notebook(sources.notebook_cell(of, reading), busy))) == expected

    shown = plain(ask_psql(settings, of.sql[-1]))
    if name == "timeline":
        # Names of files that only the events know are a second query.
        for row in (*shown, *expected):
            row.pop("original_filename")
        shown, expected = sorted(shown, key=str), sorted(expected, key=str)
        assert shown == expected
        expected = plain(stats.records(stats.timeline(busy)))
    elif name == "acts":
        # Here, too: the statement gives the ids of some files, and names are asked for afterwards; nodes are a list.
        both = [
            [{**row, "file_ids": None, "files": None, "server_ids": row["server_ids"].strip("{}")} for row in rows]
            for rows in (shown, expected)
        ]
        assert both[0] == both[1]
    else:
        assert shown == expected

    verbs = build_parser()._actions[-1].choices["stats"]._actions  # type: ignore[index]
    known = next(action.choices for action in verbs if action.dest == "what")
    if of.verb and of.verb.split()[1] in known:
        told = tables_opskit(settings, *of.verb.split())
        assert told.returncode == 0, told.stderr
        assert plain(json.loads(told.stdout)) == expected

    if of.path and f"/processing/{of.path}" in asked_api(busy, "/openapi.json")["paths"]:
        answer = asked_api(busy, f"/processing/{of.path}")
        if name == "concurrency":
            (now,) = expected
            renamed = {"staleProcessingFiles": "stale_files"}
            numbers = {**answer.pop("byStatus"), **{renamed.get(key, key): value for key, value in answer.items()}}
            numbers = {key: value for key, value in snake(numbers).items() if key in now}
            assert plain([numbers]) == [{key: value for key, value in now.items() if key in numbers}]
            assert len(numbers) >= 9
        else:
            answer = answer if isinstance(answer, list) else [answer]
            assert plain([snake(row) for row in answer]) == expected


def test_every_panel_says_where_its_numbers_come_from(open_page: Open, busy: Database) -> None:
    for page in PAGES:
        app = open_page(page)
        keys = [key for key in app.session_state._state.filtered_state if str(key).startswith("source ")]
        assert keys, f"{page} has no such menu"
        for key in keys:
            app.session_state[key] = True
        app.run()
        assert fine(app)
        words = said(app)
        assert "opskit.connect()" in words
        assert [button.label for button in app.get("download_button")]  # type: ignore[union-attr]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("name", [name for name in sources.SOURCES if name not in ("lanes", "lane_work")])
def test_every_reading_has_its_doors_and_its_files(open_page: Open, busy: Database, name: str) -> None:
    open_page()
    values: dict[str, dict[str, Any]] = {
        "claims": {"look": False},
        "event": {"event_id": 1},
        "failed_files": {"error": "line # is $bad$", "since_seconds": "", "lane": "", "limit": 5},
        "failure_trend": {"lane": ""},
        "file": {"file_id": "1"},
        "files": {"status": "", "server_id": "", "search": "it's", "limit": 5},
        "events": {"kind": "pause", "limit": 5},
        "node_said": {"server_id": "node-a", "row_limit": 20},
    }
    if name == "act":
        values["act"] = {"act": int(stats.acts(busy)["act"].iloc[0])}
    reading = readings.read(name, **values.get(name, {}))
    of, own = sources.SOURCES[name], readings.settings()
    assert reading.error is None

    cell, line = sources.notebook_cell(of, reading), sources.psql_line(of, reading, own)

    in_a_notebook(cell, busy)
    if line:
        done = psql(own, *shlex.split(line)[2:])
        assert done.returncode == 0, done.stderr
    frame = downloads.as_frame(reading)
    again = pd.read_parquet(io.BytesIO(downloads.parquet(frame)))
    assert len(again) == len(frame)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["files", "claims", "doctor", "throughput"])
def test_a_panel_is_opened_as_a_notebook_that_runs_with_the_panels_filters(
    busy: Database, name: str, tmp_path: Path
) -> None:
    values = {"files": (("status", "queued"), ("limit", 3)), "throughput": (("since_seconds", 7200.0),)}.get(name, ())
    reading = readings.Reading(None, datetime.now(UTC), name=name, values=values)

    text = sources.notebook_file(sources.SOURCES[name], reading, busy.settings)

    book = nbformat.reads(text.decode(), as_version=4)
    nbformat.validate(book)
    assert f"env={busy.settings.env!r}" in book.cells[1].source
    client = NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, **busy.settings.environ()})
    (shown,) = book.cells[-1].outputs
    assert "text/html" in shown["data"]
    for _, value in values:
        assert repr(value) in book.cells[-1].source
