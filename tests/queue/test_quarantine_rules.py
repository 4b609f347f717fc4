"""What is evidence against a node, who counts as the fleet, and when nobody is judged: each rule at its edge."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from opskit import queue
from opskit.database import Database
from opskit.errors import DatabaseError
from opskit.queue import claims
from opskit.queue.quarantine import judge
from opskit.queue.server_id import Boot
from tests.support.quarantine import complete, convicting, failed_by, state
from tests.support.tables import application, boot, files, put, put_node, run


def sql(db: Database, text: str) -> list[dict[str, Any]]:
    with application(db.settings) as own:
        return run(own, text)


def charge(db: Database, server_id: str = "a") -> dict[str, Any]:
    return dict(db.one("bad_attempts", server_id=server_id, row_limit=100))


# -- what it is charged with -------------------------------------------------------------------


def test_a_node_is_charged_with_its_own_attempts_that_raised_or_crashed(
    db: Database, fleet: tuple[Boot, Boot, Boot]
) -> None:
    first, second, _ = fleet
    mine, rejected, others, timed_out = files(db, "mine", "rejected", "others", "timed out")
    failed_by(db, first, mine, outcome="crashed")
    failed_by(db, first, rejected, outcome="rejected")
    failed_by(db, first, timed_out, outcome="timeout")
    failed_by(db, second, others)
    sql(
        db,
        f"INSERT INTO {db.names['events']} (kind, outcome, server_id, file_id, started_at) "
        "VALUES ('note', 'raised', 'a', '99', now())",
    )

    assert charge(db)["ids"] == [mine]


@pytest.mark.parametrize("change", ["ended an hour ago", "forgiven"])
def test_a_node_is_not_charged_with_what_is_old_or_forgiven(
    db: Database, fleet: tuple[Boot, Boot, Boot], change: str
) -> None:
    (id,) = files(db, "a")
    failed_by(db, fleet[0], id)
    assert charge(db)["ids"] == [id]
    if change == "forgiven":
        put_node(db, "b", "cleared_at = now() + interval '1 hour'")
        assert charge(db)["ids"] == [id]
        put_node(db, "a", "cleared_at = now()")
    else:
        sql(db, f"UPDATE {db.names['events']} SET at = at - interval '61 minutes'")

    assert charge(db)["ids"] == []


def test_a_charge_is_of_the_newest_attempts_only(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    ids = files(db, "a", "b", "c")
    failed_by(db, fleet[0], *ids)

    assert sorted(db.one("bad_attempts", server_id="a", row_limit=2)["ids"]) == sorted(ids[1:])


# -- evidence ----------------------------------------------------------------------------------


def judged(db: Database, node: Boot, **given: Any) -> bool:
    """Whether a node is in quarantine by the statement alone, whatever its streak."""
    found = charge(db, node.server_id)
    values = {
        "server_id": node.server_id, "boot": node.boot, "ids": found["ids"], "since": found["since"].isoformat(),
        "again": found["again"].isoformat(), "after": 5,
    }  # fmt: skip
    return bool(db.run("quarantine", **{**values, **given}))


def test_five_files_that_others_completed_suffice_and_four_do_not(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, *healthy = fleet
    ids = convicting(db, sick, *healthy)
    put(db, ids[0], "processing_status = 'queued'")

    assert not judged(db, sick)
    assert judged(db, sick, after=4)


@pytest.mark.parametrize("how", ["rejected elsewhere", "completed by itself", "completed since", "not charged"])
def test_a_file_is_no_evidence_that_no_other_node_completed_before_the_last_failure(
    db: Database, fleet: tuple[Boot, Boot, Boot], how: str
) -> None:
    sick, well, other = fleet
    ids = convicting(db, sick, well)
    given = {}
    if how == "rejected elsewhere":
        queue.requeue(db, [ids[0]], actor="me")
        failed_by(db, other, ids[0], outcome="rejected")
        put(db, ids[0], "processing_completed_at = now() - interval '1 hour'")
    elif how == "completed by itself":
        put(db, ids[0], "processing_server_id = 'a'")
    elif how == "completed since":
        put(db, ids[0], "processing_completed_at = now() + interval '1 hour'")
    else:
        given["ids"] = ids[1:]

    assert not judged(db, sick, **given)


@pytest.mark.parametrize("how", ["failed elsewhere", "released elsewhere", "noted elsewhere"])
def test_only_a_failure_of_another_node_too_puts_the_blame_on_the_file(
    db: Database, fleet: tuple[Boot, Boot, Boot], how: str
) -> None:
    sick, well, other = fleet
    ids = files(db, *(f"file-{n}" for n in range(6)))
    failed_by(db, sick, *ids[:-1])
    if how == "failed elsewhere":
        failed_by(db, other, ids[0])
    elif how == "released elsewhere":
        token = claims.claim_one(db, other, ids[0]).token
        claims.release(db, id=ids[0], token=token, reason="drained", actor="c")
    else:
        sql(
            db,
            f"INSERT INTO {db.names['events']} (kind, outcome, server_id, file_id) "
            f"VALUES ('requeue', 'raised', 'c', '{ids[0]}')",
        )
    for id in ids[:-1]:
        complete(db, well, id)
    failed_by(db, sick, ids[-1])

    assert judged(db, sick) is (how != "failed elsewhere")


# -- the fleet ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["paused on its row", "paused by name", "paused all", "draining", "silent", "stopped",
                                 "alone"])  # fmt: skip
def test_somebody_else_has_to_go_on_claiming(db: Database, fleet: tuple[Boot, Boot, Boot], how: str) -> None:
    sick, well, third = fleet
    convicting(db, sick, well, third)
    changes = {"paused on its row": "paused = true", "draining": "state = 'draining'", "stopped": "stopped_at = now()",
               "silent": "lease_until = now() - interval '1 s'"}  # fmt: skip
    for name in "bc":
        if how in changes:
            put_node(db, name, changes[how])
        elif how == "paused by name":
            sql(db, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('{name}', 'me', '')")
    if how == "paused all":
        sql(db, f"INSERT INTO {db.names['pauses']} (scope, actor, reason) VALUES ('*', 'me', '')")
    elif how == "alone":
        sql(db, f"DELETE FROM {db.names['nodes']} WHERE server_id <> 'a'")

    assert not judged(db, sick)
    assert state(db, "a") == "active"


def test_a_node_in_quarantine_is_nobody_who_goes_on_claiming(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, well, third = fleet
    boot(db, "d")
    convicting(db, sick, well, third)
    put_node(db, "b", "state = 'quarantined'")
    for name in "cd":
        put_node(db, name, "paused = true")
    assert not judged(db, sick)
    put_node(db, "d", "paused = false")

    assert judged(db, sick)


def test_nodes_that_drain_do_not_make_the_fleet_larger(db: Database, fleet: tuple[Boot, Boot, Boot]) -> None:
    sick, well, third = fleet
    convicting(db, sick, well, third)
    put_node(db, "b", "state = 'quarantined'")
    assert not judged(db, sick), "two of three would be ill"
    put_node(db, "b", "state = 'draining'")

    assert judged(db, sick)


@pytest.mark.parametrize("how", ["an earlier boot", "forgiven since", "draining", "forgiven before"])
def test_a_node_is_judged_as_it_stands_now(db: Database, fleet: tuple[Boot, Boot, Boot], how: str) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    given = {}
    found = charge(db)
    if how == "an earlier boot":
        sick = dataclasses.replace(sick, boot="00000000-0000-0000-0000-000000000007")
    elif how == "draining":
        put_node(db, "a", "state = 'draining'")
    else:
        put_node(db, "a", f"cleared_at = now() {'-' if how == 'forgiven before' else '+'} interval '1 hour'")
        # The charge was brought before.
        given = {"ids": found["ids"], "since": found["since"].isoformat(), "again": found["again"].isoformat()}
        values = {"server_id": "a", "boot": sick.boot, "after": 5, **given}
        assert bool(db.run("quarantine", **values)) is (how == "forgiven before")
        return

    assert not judged(db, sick)
    assert state(db, "a") != "quarantined"


# -- who judges --------------------------------------------------------------------------------


def test_a_node_is_judged_after_so_many_bad_attempts_in_a_row_as_the_setting_says(
    db: Database, fleet: tuple[Boot, Boot, Boot], monkeypatch: pytest.MonkeyPatch
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    asked = []
    one = db.one

    def noted(name: str, **given: Any) -> Any:
        asked.append(given["row_limit"])
        return one(name, **given)

    monkeypatch.setattr(db, "one", noted)

    assert judge(db, sick, 4) is None
    with Database(dataclasses.replace(db.settings, quarantine_after=0)) as never:
        assert judge(never, sick, 6) is None
    assert asked == [], "nothing is asked before that"
    sql(db, f"UPDATE {db.names['events']} SET file_id = '1'")
    assert judge(db, sick, 200) is None
    assert judge(db, sick, 5) is None
    assert asked == [100, 5]


def test_a_judgement_that_postgresql_refuses_is_told_unless_a_row_was_locked(
    db: Database, fleet: tuple[Boot, Boot, Boot], monkeypatch: pytest.MonkeyPatch
) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)

    run_query, sqlstate = db.run, "55P03"

    def refuse(name: str, **given: Any) -> Any:
        if name != "quarantine":
            return run_query(name, **given)
        error = DatabaseError("no")
        error.sqlstate = sqlstate
        raise error

    monkeypatch.setattr(db, "run", refuse)
    assert judge(db, sick, 6) is None
    sqlstate = "40001"
    with pytest.raises(DatabaseError):
        judge(db, sick, 6)
