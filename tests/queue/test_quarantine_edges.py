"""What a node is convicted by and what is said of it, where other files, events and nodes stand beside."""

from __future__ import annotations

from opskit.database import Database
from opskit.queue.server_id import Boot
from tests.queue.test_quarantine_rules import charge, judged, sql
from tests.support.nodes import ask
from tests.support.quarantine import convicting, failed_by, state
from tests.support.tables import files, put_node

Fleet = tuple[Boot, Boot, Boot]


def test_what_another_node_failed_beside_is_nothing_to_the_files_that_it_completed(db: Database, fleet: Fleet) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    failed_by(db, healthy[0], *files(db, "beside"))

    assert judged(db, sick)


def test_a_conviction_names_the_error_with_which_the_node_failed_the_file(db: Database, fleet: Fleet) -> None:
    sick, *healthy = fleet
    *ids, _ = convicting(db, sick, *healthy)
    events = db.names["events"]
    beside = (("attempt", "timeout", ids[-1]), ("note", "raised", ids[-1]), ("attempt", "raised", "99"))
    for kind, outcome, id in beside:
        ask(
            db,
            f"INSERT INTO {events} (kind, outcome, server_id, file_id, reason) "
            f"VALUES ('{kind}', '{outcome}', 'a', '{id}', 'beside')",
        )

    assert judged(db, sick, ids=ids)
    (event,) = ask(db, f"SELECT reason, details FROM {events} WHERE kind = %s AND outcome = 'quarantined'", "state")
    assert "No space left on device" in event["reason"]
    assert {one["error"] for one in event["details"]["files"]} == {"OSError: [Errno 28] No space left on device"}


def test_a_node_is_quarantined_by_its_own_row_where_another_has_its_boot(db: Database, fleet: Fleet) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    put_node(db, "b", f"boot = '{sick.boot}'")

    assert judged(db, sick)
    assert [state(db, name) for name in "abc"] == ["quarantined", "active", "active"]


def test_a_judgement_waits_for_a_row_of_the_fleet_no_longer_than_a_second(db: Database, fleet: Fleet) -> None:
    sick, *healthy = fleet
    convicting(db, sick, *healthy)
    found = charge(db, "a")
    given = {"server_id": "a", "boot": sick.boot, "ids": found["ids"], "after": 5,
             "since": found["since"].isoformat(), "again": found["again"].isoformat()}  # fmt: skip
    with db.connection() as connection, connection.transaction(force_rollback=True):
        assert len(db.run_on(connection, "quarantine", **given)) == 1
        waits = connection.execute("SHOW lock_timeout").fetchone()

    assert waits == {"lock_timeout": "1s"}
    assert sql(db, "SHOW lock_timeout") == [{"lock_timeout": "0"}]
