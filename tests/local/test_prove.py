"""`opskit prove`: it proves on a sound database, leaves nothing behind, and its checker can fail."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import SettingError
from opskit.local import checker
from opskit.local.prove import prove
from tests.support.nodes import add_files, ask


def schemas(db: Database) -> list[str]:
    return [row["nspname"] for row in ask(db, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'opskit%'")]


@pytest.mark.slow
def test_the_promises_hold_on_a_sound_database_and_nothing_is_left_behind(db: Database) -> None:
    (bystander,) = add_files(db, "not part of it")

    done = subprocess.run(
        [sys.executable, "-m", "opskit", "prove", "--nodes", "3", "--files", "250", "--json"],
        env={**os.environ, **db.settings.environ()},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    answer = json.loads(done.stdout)
    assert done.returncode == 0, answer
    assert answer["holds"]
    assert len(answer["promises"]) == 8
    assert all(promise["holds"] and promise["counted"] for promise in answer["promises"])
    assert answer["faults"]["killed"] == 2
    assert answer["faults"]["connections cut"] > 0
    assert schemas(db) == []
    assert db.one("file", id=bystander)["processing_status"] == "queued"


@pytest.mark.slow
def test_a_run_that_is_not_done_in_time_does_not_hold(db: Database) -> None:
    answer = prove(db.settings, nodes=3, files=5000, seconds=1)

    assert not answer["holds"]
    assert [p["holds"] for p in answer["promises"] if "in the time given" in p["promise"]] == [False]
    assert schemas(db) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nodes": 2}, "--nodes is 2; at least 3"),
        ({"files": 0}, "--files is 0; it must be at least 1"),
        ({"seconds": math.nan}, "--seconds is nan; it must be a number above 0"),
        ({"seconds": -1.0}, "--seconds is -1; it must be a number above 0"),
    ],
)
def test_numbers_that_prove_nothing_are_refused(db: Database, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        prove(db.settings, **given)


def test_a_change_of_state_and_a_change_of_token_are_recorded_and_no_other_is(db: Database) -> None:
    checker.record(db)
    (id,) = add_files(db, "a")
    for assignments in (
        "original_filename = 'b'",
        "processing_status = 'processing', processing_server_id = 'a', processing_epoch = 1",
        "processing_token = gen_random_uuid()",
    ):
        ask(db, f"UPDATE {db.settings.files} SET {assignments} WHERE id = %s", id)

    found = [(one["was"], one["became"], one["token"] is None) for one in db.run("prove/transitions")]

    assert found == [("queued", "processing", True), ("processing", "processing", False)]


def test_the_checker_names_a_missing_a_doubled_and_a_lonely_effect(db: Database) -> None:
    checker.record(db)
    missing, doubled, lonely = add_files(db, "a", "b", "c")
    for id in (missing, doubled):
        ask(db, f"UPDATE {db.settings.files} SET processing_status = 'processing' WHERE id = %s", id)
        ask(db, f"UPDATE {db.settings.files} SET processing_status = 'completed' WHERE id = %s", id)
    for id in (doubled, doubled, lonely):
        ask(db, "INSERT INTO effects (file_id) VALUES (%s)", id)

    wrong = checker.examine(db).wrong

    assert sorted(wrong) == sorted(
        [
            f"file {missing} is completed without its effect",
            f"file {doubled} has 2 effects",
            f"file {lonely} has an effect but is not completed",
        ]
    )
