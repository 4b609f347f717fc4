"""When a file is tried again: a processor's own wish, a server's, and rules by exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opskit.database import Database
from opskit.errors import SettingError
from opskit.settings import Settings
from opskit.support.retry_rules import Rule, rule_for, rules
from tests.support.nodes import Node, ask, running_nodes, until
from tests.support.tables import attempts, files, put, row

Start = Callable[..., Node]


@pytest.fixture
def start(db: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a node of the test's own."""
    with running_nodes(db, tmp_path) as begin:
        yield begin


def waits(db: Database) -> dict[str, float]:
    """How long each file waits from now on [s]."""
    seconds = "extract(epoch FROM processing_queued_at - now())::float8"
    found = ask(db, f"SELECT id::text AS id, {seconds} AS seconds FROM {db.settings.files}")
    return {each["id"]: each["seconds"] for each in found}


def test_a_processor_that_raises_retry_is_called_again_then(db: Database, start: Start) -> None:
    soon, later = files(db, "retry-0.5", "retry-600")

    node = start("node-a", act="wait_for")

    until(lambda: row(db, soon)["processing_status"] == "completed")
    until(lambda: attempts(db, later))
    assert [(each["outcome"], each["next_status"]) for each in attempts(db, soon)] == [("deferred", "queued")]
    assert row(db, soon)["processing_failures"] == 0
    assert 580 < waits(db)[later] <= 600
    assert "attempt 1 deferred: not yet; now queued, due in 600 s" in node.log


def test_an_http_error_with_retry_after_defers_its_file_and_another_does_not(db: Database, start: Start) -> None:
    busy, broken = files(db, "busy-300", "broken-300")

    start("node-a", act="wait_for", OPSKIT_RETRY_SECONDS="10")

    until(lambda: attempts(db, busy) and attempts(db, broken))
    assert [attempts(db, id)[0]["outcome"] for id in (busy, broken)] == ["deferred", "raised"]
    assert 280 < waits(db)[busy] <= 300
    assert waits(db)[broken] <= 10


def test_a_rule_gives_its_exception_another_budget_and_another_wait(db: Database, start: Start) -> None:
    lost, bad = files(db, "lost", "bad")

    start("node-a", act="lose_connection", OPSKIT_RETRY="ConnectionError=3:15m", OPSKIT_MAX_FAILURES="1")

    until(lambda: attempts(db, lost) and attempts(db, bad))
    assert (row(db, bad)["processing_status"], row(db, lost)["processing_status"]) == ("failed", "queued")
    assert 880 < waits(db)[lost] <= 900
    put(db, lost, "processing_queued_at = now(), processing_failures = 2")
    until(lambda: row(db, lost)["processing_status"] == "failed")


def test_rules_are_read_with_their_units_and_the_first_that_fits_holds() -> None:
    found = rules(" TimeoutError=5:2m, ConnectionError=20:30s,OSError=4 ,builtins.KeyError=1:0.5h ")

    assert found == (
        Rule("TimeoutError", 5, 120.0), Rule("ConnectionError", 20, 30.0), Rule("OSError", 4, None),
        Rule("builtins.KeyError", 1, 1800.0),
    )  # fmt: skip
    assert rule_for(ConnectionResetError(), found) == found[1]
    assert rule_for(PermissionError(), found) == found[2]
    assert rule_for(KeyError("x"), found) == found[3]
    assert rule_for(ValueError(), found) is None


@pytest.mark.parametrize("given", ["ConnectionError", "ConnectionError=0", "X=3:soon", "=3", "X=3:31d", "X=1:9999h"])
def test_a_rule_that_cannot_be_read_is_refused(given: str) -> None:
    with pytest.raises(SettingError, match="OPSKIT_RETRY has"):
        Settings.load({}, retry=given)
