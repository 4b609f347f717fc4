"""`opskit logs` names the lane of the file, where the table has lanes."""

from __future__ import annotations

import json

import pytest

from opskit import migration
from opskit.database import Database
from opskit.queue import attempt_logs
from tests.support.nodes import ask
from tests.support.tables import boot, claim, files, opskit


def said(db: Database, **columns: str) -> str:
    """A file of which an attempt has said something."""
    (id,) = files(db, "a", **columns)
    token = claim(db, boot(db)).token
    attempt_logs.keep(db, [attempt_logs.Chunk(token=token, sequence=0, size=6, text="alpha\n")])
    return id


@pytest.mark.parametrize(("lane", "told"), [("17", "17"), (None, "(none)")])
def test_the_shell_tells_the_lane_of_what_an_attempt_has_said(db: Database, lane: str | None, told: str) -> None:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN customer integer")
    migration.set_lanes(db, "customer", actor="test")
    id = said(db, **({"customer": lane} if lane else {}))

    shown = opskit(db.settings, "logs", id)
    (line,) = opskit(db.settings, "logs", id, "--json").stdout.splitlines()

    assert shown.stdout == "alpha\n"
    assert f", lane {told}" in shown.stderr
    assert json.loads(line)["lane"] == lane


def test_without_lanes_nothing_is_said_of_one(db: Database) -> None:
    id = said(db)

    shown = opskit(db.settings, "logs", id)

    assert "lane" not in shown.stderr
    assert "lane" not in json.loads(opskit(db.settings, "logs", id, "--json").stdout)
