"""Runbooks: every condition has one, which the shell prints without a database."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tomllib

import pytest

from opskit.cli.main import build_parser, main
from opskit.doctor import runbooks
from opskit.doctor.finding import Condition
from opskit.errors import SettingError
from opskit.settings import Settings
from tests.support.pages import ROOT


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    """The shell's, which takes its time to make."""
    return build_parser()


def test_the_shell_prints_a_runbook_without_a_database(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")

    assert main(["doctor", "--explain", "no-node-alive"]) == 0

    shown = capsys.readouterr().out
    assert shown.startswith("# No node is alive\n")
    assert "opskit worker --drain" in shown


def test_the_shell_gives_a_program_the_runbook_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--explain", "paused", "--json"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert answer["condition"] == "paused"
    assert answer["runbook"].startswith("# Claiming is paused")


def test_an_unknown_condition_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--explain", "nonsense"]) == 1

    said = capsys.readouterr().err
    assert "there is no runbook 'nonsense'; there are: breaker-open, claims-stuck" in said


@pytest.mark.parametrize("condition", list(Condition))
def test_links_of_a_runbook_lead_to_runbooks_alone(condition: Condition) -> None:
    linked = runbooks.text(condition, address=lambda other: f"doctor?runbook={other}")

    for target in re.findall(r"\]\(([^)]+)\)", linked):
        assert target.removeprefix("doctor?runbook=") in set(Condition)
    assert "](" not in runbooks.text(condition)


@pytest.mark.parametrize("condition", list(Condition))
def test_commands_of_a_runbook_are_for_the_environment_and_the_table_that_are_looked_at(
    condition: Condition, parser: argparse.ArgumentParser
) -> None:
    there = Settings.load({}, env="development", table="invoices")

    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", runbooks.text(condition, settings=there), flags=re.M | re.S)

    for language, block in blocks:
        for line in block.splitlines():
            assert "uploaded_files" not in line.replace("uploaded_files_id_unique", "")
            assert "processing_nodes" not in line
            if language == "sh" and line.startswith("opskit ") and line != "opskit --version":
                given = parser.parse_args(shlex.split(line, comments=True)[1:])
                assert callable(given.verb)
                assert given.table == "invoices"


def test_a_runbook_names_production_where_production_is_looked_at() -> None:
    there = Settings.load({}, env="production")

    assert "\nopskit stats --env production nodes\n" in runbooks.text("no-node-alive", settings=there)


def test_the_wheel_carries_the_runbooks() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert wheel["force-include"]["docs/runbooks"] == "opskit/_docs/runbooks"


def test_a_path_is_no_condition() -> None:
    with pytest.raises(SettingError, match="there is no runbook"):
        runbooks.text("../howto/upgrade")
