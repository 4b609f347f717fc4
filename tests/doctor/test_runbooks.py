"""Runbooks: every condition has one, which the shell prints without a database."""

from __future__ import annotations

import json
import re

import pytest

from opskit.cli.main import main
from opskit.doctor import runbooks
from opskit.doctor.finding import Condition
from opskit.errors import SettingError


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


def test_a_path_is_no_condition() -> None:
    with pytest.raises(SettingError, match="there is no runbook"):
        runbooks.text("../howto/upgrade")
