"""The wake-up can be left out: `opskit migrate --no-wake`; the choice stays until it is taken back."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from opskit import migration
from opskit.database import Database, queries
from tests.migration.test_schema_upgrade import CHANGED, DOORS, Door
from tests.migration.test_schema_upgrade import bare as bare
from tests.support.nodes import ask, running_nodes, status, until
from tests.support.tables import files, opskit

ASKED = "SELECT 1 AS n FROM pg_stat_activity WHERE application_name LIKE '% node-a' AND query LIKE '-- Claim the %'"


def wakes(db: Database) -> bool:
    """Whether a waiting session hears of an insert, found out by one."""
    url = db.settings.database_url or ""
    with psycopg.connect(url, autocommit=True) as waiting:
        waiting.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(db.names["channel"])))
        files(db, "one.csv")
        return bool(list(waiting.notifies(timeout=0.3, stop_after=1)))


def test_at_first_an_insert_wakes(bare: Database) -> None:
    migration.migrate(bare)

    assert wakes(bare)
    assert migration.wakes(bare)


@DOORS
def test_left_out_it_stays_out_and_nothing_is_lacking(bare: Database, door: Door) -> None:
    migration.migrate(bare, wake=False)
    door(bare)

    assert migration.missing(bare) == []
    assert not migration.wakes(bare)
    assert not wakes(bare)


@DOORS
def test_a_later_version_of_it_is_left_out_too(bare: Database, door: Door) -> None:
    migration.migrate(bare, wake=False)
    ask(bare, CHANGED["function of the wake-up"][0])
    assert migration.missing(bare) == [CHANGED["function of the wake-up"][1]]
    door(bare)

    assert migration.missing(bare) == []
    assert not wakes(bare)


@pytest.mark.parametrize("again", [1, 2])
def test_it_can_be_taken_back(bare: Database, again: int) -> None:
    migration.migrate(bare, wake=False)
    for _ in range(again):
        ran = migration.migrate(bare, wake=True)

    assert [step.part for step in ran] == ([] if again == 2 else ["wake", "wake"])
    assert wakes(bare)


def test_the_command_says_so_and_a_node_finds_a_file_by_polling(bare: Database, tmp_path: Path) -> None:
    done = opskit(bare.settings, "migrate", "--no-wake", "--json")
    assert done.returncode == 0, done.stderr
    assert "no_wake" in [step["part"] for step in json.loads(done.stdout)[0]["ran"]]
    said = opskit(bare.settings, "migrate", "--check").stderr
    assert "migrated; the wake-up is left out: nodes see a new file when they poll" in said

    with running_nodes(bare, tmp_path) as start:
        start("node-a", OPSKIT_POLL_SECONDS="0.2")
        until(lambda: ask(bare, ASKED), what="node-a waits")
        (id,) = files(bare, "one.csv")
        until(lambda: status(bare, id) == "completed", what="the file is found")


def test_the_plan_names_it(bare: Database) -> None:
    text = queries.statement("migrate/no_wake").compose(bare.names).as_string()

    planned = [step.sql for step in migration.plan(bare, wake=False)]

    assert planned.index(text.strip()) > max(n for n, sql in enumerate(planned) if "CREATE OR REPLACE TRIGGER" in sql)
    assert text.strip() not in [step.sql for step in migration.plan(bare)]
