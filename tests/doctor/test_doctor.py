"""The doctor: quick, without changes, the same answer through every door, and its SQL files."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from opskit import doctor, queue
from opskit.cli.main import main as cli
from opskit.database import Database, queries
from opskit.doctor import work
from opskit.settings import Settings
from opskit.web.api.app import create_api
from opskit.web.dashboard import readings
from tests.support.examining import examined, finished, mend, parses, the_one
from tests.support.nodes import ask, until
from tests.support.tables import ROOT, application, claimed, environ, files, psql_program, put_node, run

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"


# -- nothing -----------------------------------------------------------------------------------


def test_a_freshly_migrated_database_with_a_live_node_is_healthy(healthy: Database) -> None:
    assert examined(healthy) == []


def test_a_database_that_has_worked_is_healthy(healthy: Database) -> None:
    claimed(healthy, "node-b")
    files(healthy, *(f"file-{number}" for number in range(20)))
    ask(healthy, f"UPDATE {TABLE} SET processing_started_at = now() - interval '1 minute', "
                 "processing_completed_at = now(), processing_status = 'completed' WHERE id > 10")  # fmt: skip
    for _ in range(30):
        ask(healthy, f"UPDATE {NODES} SET beat_at = now()")

    assert examined(healthy) == []


def test_an_examination_takes_less_than_a_second(healthy: Database) -> None:
    def seconds() -> float:
        began = time.monotonic()
        doctor.examine(healthy, missing=[], queues_new=True)
        return time.monotonic() - began

    # One in time is enough: the examination is timed, not what else the machine does.
    until(lambda: seconds() < 1, what="an examination of less than a second")


def test_an_examination_changes_nothing(healthy: Database) -> None:
    with Database(dataclasses.replace(healthy.settings), pooled=False) as only_reading:
        ask(only_reading, "SET default_transaction_read_only = on")
        found = doctor.examine(only_reading, missing=[], queues_new=True)

    assert {finding.what for finding in found} <= {"sessions are read-only by default (default_transaction_read_only)"}


def test_a_table_that_is_not_migrated_is_the_only_thing_told(settings: Settings) -> None:
    with Database(settings, pooled=False) as db:
        finding = the_one(db, "dev_uploaded_files is missing; .* more$")

        assert finding.level == "error"
        mend(settings, finding)
        assert examined(db) == []


# -- the doors -----------------------------------------------------------------------------------


def test_the_shell_exits_with_1_for_an_error_and_with_0_for_warnings(
    healthy: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["doctor", "--database-url", healthy.settings.database_url or ""]

    assert cli(given) == 0
    assert "all is well (development)" in capsys.readouterr().out
    queue.pause(healthy, actor="me", reason="[bold]disk[/bold] full")
    assert cli(given) == 0
    assert "[bold]disk[/bold] full" in " ".join(capsys.readouterr().out.split())
    put_node(healthy, "node-a", "lease_until = now() - interval '1 minute'")
    files(healthy, "a")
    assert cli([*given, "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)

    assert answer["environment"] == "development"
    assert [finding["level"] for finding in answer["findings"]] == ["error", "warning", "warning"]
    assert {"level", "what", "why", "mend", "check", "condition", "concerns"} == set(answer["findings"][0])


def test_every_door_gives_the_doctors_same_answer(
    healthy: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def python() -> list[dict[str, str]]:
        with Database(settings) as db:
            return [finding.facts() for finding in doctor.examine(db)]

    def shell() -> list[dict[str, str]]:
        cli(["doctor", "--json", "--database-url", settings.database_url or "", "--poll-seconds", "0.2"])
        return list(json.loads(capsys.readouterr().out)["findings"])

    def over_http() -> list[dict[str, str]]:
        async def asked() -> Any:
            transport = httpx.ASGITransport(create_api(healthy, settings), client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return (await client.get("/processing/doctor")).json()

        return list(asyncio.run(asked()))

    def page() -> list[dict[str, str]]:
        with Database(settings) as db:
            found: list[dict[str, str]] = readings.STATISTICS["doctor"](db)
            return found

    queue.pause(healthy, actor="me")
    ask(healthy, f"ALTER TABLE {settings.files} ALTER COLUMN processing_status DROP DEFAULT")
    ask(healthy, f"INSERT INTO {settings.files} (original_filename) VALUES ('waits')")
    some = python()
    assert len(some) >= 2
    assert shell() == over_http() == page() == some

    ask(healthy, f"ALTER TABLE {settings.files} DROP COLUMN processing_result")
    (lacking,) = python()
    assert "processing_result" in lacking["what"]
    assert shell() == over_http() == page() == [lacking]


@pytest.mark.slow
def test_a_mend_acts_on_the_environment_that_was_examined(settings: Settings) -> None:
    odd = dataclasses.replace(settings, env="production", table="the files")
    with Database(odd, pooled=False) as db:
        lacking = the_one(db, "the files is missing")
        assert lacking.mend == "opskit migrate --env production --table 'the files'"
        # The shell's own environment is development, and another table's.
        mend(settings, lacking)
        queue.pause(db, actor="me")
        claimed(db, "node's own")
        put_node(db, "node's own", "lease_until = now() - interval '9 hours'")
        found = examined(db)
    for finding in found:
        parses(settings, finding)
        assert all("--env production --table 'the files'" in line for line in finding.mend.splitlines())
    mend(settings, next(finding for finding in found if "paused" in finding.what))

    with Database(odd, pooled=False) as db:
        assert not any("paused" in finding.what for finding in examined(db))


# -- the files -----------------------------------------------------------------------------------

QUERIES = sorted(f"doctor/{path.stem}" for path in (queries.FOLDER / "doctor").glob("[!_]*.sql"))


ASKED = set(re.findall(r'"(doctor/\w+)"', "".join(p.read_text() for p in Path(doctor.__file__).parent.glob("*.py"))))


def test_every_file_is_asked_by_a_check() -> None:
    assert set(QUERIES) == ASKED


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("name", QUERIES)
def test_the_files_of_the_doctor_tell_what_they_do_and_run_in_psql(healthy: Database, name: str) -> None:
    lines = queries.text(name).splitlines()
    head = [line[2:].strip() for line in lines if line.startswith("--")]
    commands = [line for line in lines if not line.startswith("--")]
    shown = f'psql "$DATABASE_URL" -v env=development -f sql/{name}.sql'
    (statement,) = queries.statements(name)
    values = statement.values - healthy.names.keys()

    assert re.match("[A-Z].*[.:;]", head[0])
    assert shown in head
    assert commands[0] == r"\ir ../_session.sql"
    for value in values:
        assert any(re.match(rf"(\w+, )*{value}(, \w+)*  +\S", line) for line in head), f"{value} is not documented"
        assert f"\\if :{{?{value}}} \\else \\set {value} " in "\n".join(commands) or r"\ir _both.sql" in commands

    path = Path(psql_program()).parent
    done = subprocess.run(
        ["bash", "-c", shown.replace("psql ", "psql --csv ", 1)],
        env=environ(healthy.settings, PATH=f"{path}:/usr/bin:/bin"),
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    with healthy.connection() as connection:
        text = statement.compose(healthy.names)
        given: dict[str, Any] = dict.fromkeys(statement.values, None)
        columns = connection.execute(text, given or None).description or []
    assert done.stdout.splitlines()[0].split(",") == [column.name for column in columns]


@pytest.mark.slow
def test_no_check_reads_the_whole_of_a_large_table(healthy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plan over a table of two hundred thousand finished rows, as the server ran it."""
    finished(healthy, 200_000, "now()")
    ask(healthy, f"VACUUM ANALYZE {TABLE}")
    monkeypatch.setattr(work, "EXACT_BYTES", 2**20)
    with application(healthy.settings) as watcher:
        run(watcher, "SELECT pg_stat_reset_single_table_counters(%s::regclass)", values=(TABLE,))
        assert examined(healthy) == []
        healthy.close()

        def figure(query: str, *values: str) -> int:
            (row,) = run(watcher, f"SELECT ({query}) AS n", values=values)
            return int(row["n"])

        # A session tells what it has read when it ends.
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        until(lambda: figure(others) == 0)
        # A look at the last pages counts as a scan; it is bounded.
        assert figure("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = %s", TABLE) < 60_000
