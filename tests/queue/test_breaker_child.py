"""When the breaker opens, what a child does about it, and how long anybody waits for it: each rule at its edge."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import DatabaseError, DatabaseUnavailableError
from opskit.queue import breaker, claims
from opskit.queue.breaker import Breaker, Failure
from opskit.queue.claims import Answer
from opskit.queue.error_identity import Identity
from opskit.queue.server_id import Boot
from tests.support.tables import application, boot, files, put, put_node, row, run

WORLD = Identity("it broke", "a.py", "world")


def sql(db: Database, text: str) -> list[dict[str, Any]]:
    with application(db.settings) as own:
        return run(own, text)


def failed(db: Database, node: Boot, count: int = 1, most: int = 9, **identity: str) -> list[str]:
    """Files that failed on a node with an error of the world."""
    ids = files(db, *(f"file-{n}" for n in range(count)))
    for id in ids:
        again(db, node, id, most=most, **identity)
    return ids


def again(db: Database, node: Boot, id: str, *, most: int = 9, **identity: str) -> None:
    """Claim a file and fail it."""
    given = {
        "outcome": "raised", "error": "it broke", "max_failures": most, "retry_seconds": 0, "wait_seconds": "",
        "actor": "test", "identity": json.dumps({"error": "it broke", "place": "a.py", "kind": "world"} | identity),
    }  # fmt: skip
    db.one("fail", id=id, token=claims.claim_one(db, node, id).token, **given)


def evidence(db: Database, **given: Any) -> dict[str, Any]:
    values = {"error": "it broke", "place": "a.py", "most_files": 5, "since_seconds": 3600}
    return dict(db.one("breaker_evidence", **{**values, **given}))


def opens(db: Database) -> bool:
    return bool(evidence(db)["opens"])


def open_breaker(db: Database, *, open_seconds: float = 3600, probe_seconds: float = 60) -> None:
    sql(
        db,
        f"INSERT INTO {db.names['pauses']} (scope, kind, actor, reason, at, next_probe_at, probe_seconds) "
        f"VALUES (' breaker', 'breaker', 'a', 'it broke', now() - interval '{open_seconds} s', "
        f"now() + interval '{probe_seconds} s', 1)",
    )


# -- evidence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["five", "four", "one file", "kind", "error", "place", "old"])
def test_the_breaker_is_opened_by_enough_files_of_one_error_of_the_world(db: Database, how: str) -> None:
    node = boot(db)
    others = {"kind": {"kind": "file"}, "error": {"error": "else"}, "place": {"place": "b.py"}}
    if how == "one file":
        (id,) = failed(db, node)
        for _ in range(5):
            again(db, node, id)
    else:
        failed(db, node, 5 if how in ("five", "old") else 4)
        if how in others:
            failed(db, node, 1, 9, **others[how])
    if how == "old":
        sql(db, f"UPDATE {db.names['events']} SET at = at - interval '61 minutes'")

    assert opens(db) is (how == "five")


@pytest.mark.parametrize("how", ["claims", "draining", "silent", "stopped", "paused", "both fail", "alone"])
def test_one_node_among_several_that_claim_does_not_open_the_breaker(db: Database, how: str) -> None:
    first = boot(db, "a")
    second = boot(db, "b") if how != "alone" else first
    changes = {"draining": "state = 'draining'", "silent": "lease_until = now() - interval '1 s'",
               "stopped": "stopped_at = now()"}  # fmt: skip
    failed(db, first, 4)
    failed(db, second if how == "both fail" else first)
    if how in changes:
        put_node(db, "b", changes[how])
    elif how == "paused":
        sql(db, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('b', 'me', '')")

    assert opens(db) is (how != "claims")


@pytest.mark.parametrize("how", ["completed since", "failed since", "closed since", "opened since"])
def test_failures_from_before_a_completion_or_the_last_closing_do_not_open_it(db: Database, how: str) -> None:
    node = boot(db)
    (other,) = files(db, "other")
    failed(db, node, 5)
    if how == "completed since":
        claims.complete(db, id=other, token=claims.claim_one(db, node, other).token)
    elif how == "failed since":
        put(db, other, "processing_status = 'failed', processing_completed_at = now()")
    else:
        sql(
            db,
            f"INSERT INTO {db.names['events']} (kind, outcome) VALUES ('breaker', '{how.split()[0]}')",
        )

    assert opens(db) is (how in ("failed since", "opened since"))


# -- what is given back ------------------------------------------------------------------------


def test_what_failed_before_it_began_is_not_given_back(db: Database) -> None:
    node = boot(db)
    (id,) = failed(db, node)
    sql(db, f"UPDATE {db.names['events']} SET at = '2020-01-01'")
    again(db, node, id)

    db.one(
        "breaker_open", error="it broke", place="a.py", ids=[id], since="2021-01-01", server_id="a", reason="it broke"
    )

    assert row(db, id)["processing_failures"] == 1


def test_a_file_at_work_keeps_its_claim_and_a_locked_one_its_failures(db: Database) -> None:
    node = boot(db)
    at_work, locked = failed(db, node, 2)
    token = claims.claim_one(db, node, at_work).token

    with application(db.settings) as other, other.transaction():
        run(other, f"SELECT 1 FROM {db.settings.files} WHERE id = {locked} FOR UPDATE")
        with db.connection() as connection:
            connection.execute("SET lock_timeout = '700ms'")
            (done,) = db.run_on(
                connection, "breaker_open", error="it broke", place="a.py", ids=[at_work, locked], since="2020-01-01",
                server_id="a", reason="it broke",
            )  # fmt: skip

    assert (done["opened"], done["files"], done["requeued"]) == (True, 1, 0)
    assert [row(db, id)["processing_failures"] for id in (at_work, locked)] == [0, 1]
    assert claims.complete(db, id=at_work, token=token) == "done"


def test_an_operators_pause_is_not_closed_by_a_file_that_goes_well(db: Database) -> None:
    node = boot(db)
    queue.pause(db, "*", actor="me")
    (id,) = files(db, "a")
    claims.complete(db, id=id, token=claims.claim_one(db, node, id).token)

    assert db.run("breaker_close", server_id="node-a") == []
    assert sql(db, f"SELECT closed_at FROM {db.names['pauses']}") == [{"closed_at": None}]


def test_a_failure_is_not_given_back_under_an_operators_pause_nor_to_a_file_at_work(db: Database) -> None:
    node = boot(db)
    (id,) = failed(db, node)
    queue.pause(db, "*", actor="me")
    assert db.run("breaker_give_back", id=id, attempt=1, actor="a") == []

    open_breaker(db)
    claims.claim_one(db, node, id)
    put(db, id, "processing_failure = jsonb_set(processing_failure, array['attempt'], '2')")
    assert db.run("breaker_give_back", id=id, attempt=2, actor="a") == [], "it is at work"
    put(
        db,
        id,
        "processing_status = 'queued', processing_failure = jsonb_set(processing_failure, array['attempt'], '1')",
    )
    assert db.run("breaker_give_back", id=id, attempt=1, actor="a") == [], "it is another attempt's by now"


# -- the child ---------------------------------------------------------------------------------


def test_a_child_opens_the_breaker_once_and_gives_its_failure_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = boot(db)
    child = Breaker(db, node)
    ids = failed(db, node, 4)
    assert not child.failed(Failure(ids[-1], 1, WORLD)), "four files are too few"
    assert sql(db, f"SELECT 1 FROM {db.names['pauses']}") == []

    ids += failed(db, node)
    asked = []
    one = db.one

    def noted(name: str, **given: Any) -> Any:
        asked.append(name.partition("breaker_")[2])
        return one(name, **given)

    monkeypatch.setattr(db, "one", noted)
    assert child.failed(Failure(ids[-1], 1, WORLD))
    assert [one["reason"] for one in sql(db, f"SELECT reason FROM {db.names['pauses']}")] == ["it broke (in a.py)"]
    assert row(db, ids[-1])["processing_failures"] == 0
    ids += failed(db, node)
    assert child.failed(Failure(ids[-1], 1, WORLD)), "it is open already"
    assert row(db, ids[-1])["processing_failures"] == 0
    assert [name for name in asked if name] == ["evidence", "open", "evidence"]
    assert not child.failed(Failure(ids[-1], 1, WORLD)), "what is given back is given back once"


def test_a_child_whose_opening_comes_second_gives_its_own_failure_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = boot(db)
    ids = failed(db, node, 5)
    seen = evidence(db)
    assert Breaker(db, node).failed(Failure(ids[0], 1, WORLD))
    (late,) = failed(db, node)
    one = db.one
    monkeypatch.setattr(db, "one", lambda name, **given: seen if name == "breaker_evidence" else one(name, **given))

    assert Breaker(db, node).failed(Failure(late, 1, WORLD))
    assert row(db, late)["processing_failures"] == 0


def test_a_child_whose_database_is_away_leaves_the_failure_counted(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (DatabaseUnavailableError("away"), DatabaseError("permission denied")):

        def refuse(*_: object, _raised: Exception = error, **__: object) -> None:
            raise _raised

        monkeypatch.setattr(db, "one", refuse)
        assert not Breaker(db, Boot("node-a", "", 1)).failed(Failure("1", 1, WORLD))


def test_a_child_says_once_that_the_breaker_is_open_and_that_it_was_closed(
    db: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "opskit")
    looked = []
    monkeypatch.setattr(importlib, "invalidate_caches", lambda: looked.append(1))
    child = Breaker(db, Boot("node-a", "", 1))
    paused = Answer("paused", "", broken="it broke")

    def said(*answers: Answer) -> list[str]:
        caplog.clear()
        for answer in answers:
            child.heard(answer)
        return [record.getMessage().partition(":")[0] for record in caplog.records]

    assert said(paused, paused, Answer("paused", ""), paused) == ["the breaker is open"]
    assert len(looked) == 3
    assert said(Answer("claimed", "", healed_seconds=0.0)) == ["the breaker is closed"]
    assert said(paused) == ["the breaker is open"], "it is another opening"


@pytest.mark.parametrize(
    ("open_seconds", "probe_seconds", "probing", "waits"),
    [(20, 60, False, True), (40, 60, False, False), (40, 60, True, True), (40, -1, False, True),
     (90, -40, False, False)],
)  # fmt: skip
def test_nobody_waits_for_an_open_breaker_for_ever(
    db: Database, open_seconds: float, probe_seconds: float, probing: bool, waits: bool
) -> None:
    assert breaker.in_vain(db) is None, "it is closed"
    node = boot(db)
    probed, _waiting = files(db, "a", "b")
    open_breaker(db, open_seconds=open_seconds, probe_seconds=probe_seconds)
    if probing:
        claims.claim_one(db, node, probed)

    told = breaker.in_vain(db)

    assert (told is None) is waits
    if told is not None:
        assert told.startswith(f"the breaker is open for {open_seconds} s: it broke; 2 files wait;")


# -- the world or the file ---------------------------------------------------------------------


def test_a_file_is_gone_for_the_world_where_its_folder_is_there_and_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = dataclasses.replace(WORLD, kind="file")
    empty, full = tmp_path / "share", tmp_path / "folder"
    empty.mkdir()
    full.mkdir()
    (full / "other").write_text("")

    def kind(error: BaseException) -> str:
        return breaker.judged(identity, error).kind

    def gone(path: object) -> FileNotFoundError:
        return FileNotFoundError(2, "No such file or directory", path)

    assert kind(gone(str(empty / "a" / "b.csv"))) == kind(gone(bytes(empty / "b.csv"))) == "world"
    assert kind(gone(str(full / "b.csv"))) == "file"
    assert kind(gone(None)) == kind(gone(7)) == kind(gone("a\0b")) == "file"
    assert kind(PermissionError(13, "Permission denied", str(empty / "b.csv"))) == "file"

    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("opskit.queue.breaker.os.scandir", refuse)
    assert kind(gone(str(empty / "b.csv"))) == "file"
