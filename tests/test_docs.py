"""What README says is compared with the code: tables, commands, examples."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opskit import errors
from opskit.cli.main import build_parser
from opskit.database import Database
from opskit.queue.states import FileState
from opskit.settings import Settings, flag_name
from opskit.web.api.app import create_api
from tests.support.nodes import add_files, ask

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading: str, number: int = 0) -> list[list[str]]:
    """The cells of a table below a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)
    rows = tables[number].strip().splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_table_of_states_is_the_codes() -> None:
    assert tuple(row[0].strip("` ") for row in table("States")) == tuple(FileState)


def test_the_table_of_verbs_is_the_command_lines() -> None:
    parser = build_parser()
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))

    told = {row[0].strip("` ").removeprefix("opskit "): row[1] for row in table("Verbs")}

    assert told == {choice.dest: choice.help for choice in verbs._choices_actions}


def test_the_table_of_settings_is_the_codes_and_help_shows_each() -> None:
    fields = dataclasses.fields(Settings)
    verbs = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    shown = " ".join(verbs.choices["up"].format_help().split())

    told = {row[0].strip("` "): (row[1].strip("` "), row[2]) for row in table("Settings")}

    assert told == {field.metadata["env"]: (flag_name(field.name), field.metadata["help"]) for field in fields}
    for field in fields:
        assert flag_name(field.name) in shown
        assert field.metadata["env"] in shown


def test_the_table_of_endpoints_is_the_apis(settings: Settings) -> None:
    document = create_api(lambda: Database(settings), settings).openapi()
    served = {
        f"{method.upper()} /api{path}": operation["summary"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/processing/")
    }

    told = {row[0].strip("` "): row[1] for row in table("HTTP")}

    assert told == {**served, "GET /healthz": told["GET /healthz"], "GET /metrics": told["GET /metrics"]}


def test_the_table_of_errors_is_the_codes() -> None:
    tree = {
        name: inspect.cleandoc(kind.__doc__ or "").splitlines()[0]
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }

    assert {row[0].strip("` "): row[1] for row in table("Errors")} == tree


def test_every_opskit_command_of_the_page_is_one_that_the_parser_takes() -> None:
    parser = build_parser()
    commands = [
        line.split("#")[0].strip()
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("opskit ")
    ]
    assert len(commands) >= 8

    for command in commands:
        import shlex

        given = parser.parse_args(shlex.split(command)[1:])
        assert callable(given.verb), command


def test_the_python_example_runs_as_it_stands(db: Database, tmp_path: Path) -> None:
    example = next(block for block in blocks("python") if "queue.cleanup" in block)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        env={**os.environ, **db.settings.environ()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no files yet")


def test_the_example_processor_does_what_its_comments_say(db: Database, tmp_path: Path) -> None:
    (tmp_path / "ledger.py").write_text(next(block for block in blocks("python") if "# ledger.py" in block))
    (tmp_path / "book.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "empty.csv").touch()
    full, empty = add_files(db, "book.csv", "empty.csv")
    for id, name in ((full, "book.csv"), (empty, "empty.csv")):
        ask(db, f"UPDATE {db.settings.files} SET storage_path = %s WHERE id = %s", str(tmp_path / name), id)

    done = subprocess.run(
        [sys.executable, "-m", "opskit.worker", "--drain", "--processor", "ledger:process"],
        env={**os.environ, **db.settings.environ(), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert db.one("file", id=full)["processing_result"] == {"records": 2}
    assert ask(db, "SELECT * FROM ledger ORDER BY line") == [
        {"file_id": full, "line": ["1", "2"]},
        {"file_id": full, "line": ["3", "4"]},
    ]
    failed = db.one("file", id=empty)
    assert (failed["processing_status"], failed["processing_attempt"]) == ("failed", 1)
    assert "the file is empty" in failed["processing_errors"]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#h][^)]*)\)", README))
def test_every_link_of_the_page_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_makes_targets_that_the_page_names_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        word
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("make ")
        for word in line.split("#")[0].split()[1:]
    }

    assert named
    assert named <= targets
