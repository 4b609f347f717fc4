"""The headers of the SQL files tell the truth."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from opskit.database import queries
from opskit.database.names import names
from opskit.settings import Settings
from tests.support.sql_files import FILES, READ_ONLY, header, psql_line
from tests.support.tables import ROOT, environ, psql_program

PARTS = sorted(f"migrate/{path.stem}" for path in queries.FOLDER.glob("migrate/[!_]*.sql"))


# The names of tables and what hangs on them: sql/_names.sql gives them to psql, Database.names to Python.
GIVEN = {*names(Settings.load({})), "env"}  # every file gets its environment


def documented(name: str) -> set[str]:
    """The variables that a header documents: in the paragraph after the one on psql."""
    paragraphs = header(name)
    at = next((n for n, lines in enumerate(paragraphs) if lines[0].startswith("psql")), len(paragraphs))
    found: set[str] = set()
    for line in paragraphs[at + 1] if at + 1 < len(paragraphs) else []:
        if match := re.match(r"([a-z_]+(?:, [a-z_]+)*)  +\S", line):
            listed = set(match[1].split(", "))
            if "others" in listed:
                source = re.search(r"as in (\w+)\.sql", line)
                assert source is not None
                listed = listed - {"others"} | documented(source[1]) & used(name)
            found |= listed
    return found


def used(name: str) -> set[str]:
    """The variables that psql must be given for a file and for what it includes."""
    found = {value for statement in queries.statements(name) for value in statement.values}
    for included in re.findall(r"^\\ir (\w+)\.sql", queries.text(name), re.MULTILINE):
        if not included.startswith("_"):
            found |= used(included)
    return found - GIVEN


def test_there_are_queries_to_be_looked_at() -> None:
    assert len(FILES) > 35
    assert len(PARTS) > 10
    assert len(READ_ONLY) > 15
    assert {"distribution", "concurrency", "longest_running", "stale"} <= set(READ_ONLY)


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_what_it_does_how_psql_runs_it_and_what_its_variables_are(name: str) -> None:
    paragraphs = header(name)

    assert re.match(r"[A-Z].*[.:]", paragraphs[0][0]), "no first sentence"
    assert any(lines[0].startswith("psql") for lines in paragraphs), "no psql line"
    expected = {"table"} if name == "migrate" else used(name)
    assert documented(name) == expected


@pytest.mark.parametrize("name", FILES)
def test_a_variable_is_either_in_the_psql_line_or_has_a_default(name: str) -> None:
    command = psql_line(name)
    if command is None:
        assert header(name)[1][0].startswith("psql:"), "a file without a psql line says why"
        return
    defaults = set(re.findall(r"^\\if :\{\?(\w+)\} \\else \\set \1 ", queries.text(name), re.MULTILINE))
    shown = set(re.findall(r"-v (\w+)=", command)) - {"env"}

    assert shown <= used(name)
    assert used(name) - defaults <= shown
    assert f"-f sql/{name}.sql" in command


@pytest.mark.parametrize("name", [*FILES, "migrate/_one"])
def test_every_file_opens_its_session_in_utc(name: str) -> None:
    lines = [line for line in queries.text(name).splitlines() if not line.startswith("--")]

    if name == "migrate":
        # It opens one session for each environment, in its part.
        assert all(line.startswith("\\set") or line == r"\ir migrate/_one.sql" for line in lines)
    else:
        assert lines[0] == (r"\ir ../_session.sql" if "/" in name else r"\ir _session.sql")
    assert r"\ir _settings.sql" in queries.text("_session").splitlines()
    assert "('timezone', 'UTC')" in queries.text("_settings")


@pytest.mark.parametrize("path", sorted(queries.FOLDER.rglob("*.sql")), ids=lambda path: path.stem)
def test_every_file_is_ascii_for_a_comment_is_converted_to_the_database_s_encoding_too(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.stem in ("failures", "failed_files", "failure_trend", "requeue"):
        text = text.replace("'…'", "''")  # the sign for what differs in a group's name, as Python writes it
    assert text.isascii()


def test_psql_and_python_give_the_same_names(settings: Settings) -> None:
    for env, table in (
        ("production", "uploaded_files"),
        ("development", "uploaded_files"),
        ("development", 'it\'s "x" %'),
    ):
        ours = names(Settings.load({}, env=env, table=table))
        script = "".join(f"\\echo :{key}\n" for key in ours)
        command = ["-v", f"env={env}", "-v", f"table={table}", "-f", "sql/_session.sql"]

        done = subprocess.run(
            [psql_program(), settings.database_url or "", *command, "-f", "-"],
            input=script, env=environ(settings), cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip

        assert done.stdout.splitlines() == list(ours.values())
