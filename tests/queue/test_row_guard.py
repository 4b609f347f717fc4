"""The index, the checks and the guard: what the table itself refuses, whoever writes to it."""

from __future__ import annotations

import pytest
from psycopg import errors as pg

from opskit.database import Database
from opskit.errors import ClaimLostError, DatabaseError
from opskit.queue import claims
from tests.support.tables import application, boot, change, claim, claimed, fail, files, row, rows, run

CLAIM = (
    "processing_status = 'processing', processing_server_id = '{server}', processing_started_at = now(), "
    "processing_token = gen_random_uuid(), processing_epoch = {epoch}"
)


def plain(db: Database, id: str, assignments: str) -> None:
    """A plain UPDATE over a connection of the application's, with the driver's own errors."""
    with application(db.settings) as connection:
        change(connection, db.settings.files, id, assignments)


# -- the index, the checks, the guard --------------------------------------------------------


def test_a_server_never_has_two_files_under_one_epoch(db: Database) -> None:
    first, second, third = files(db, "a", "b", "c")
    plain(db, first, CLAIM.format(server="node-a", epoch=1))

    with pytest.raises(pg.UniqueViolation, match=db.names["held_index"]):
        plain(db, second, CLAIM.format(server="node-a", epoch=1))
    plain(db, third, CLAIM.format(server="node-b", epoch=1))

    assert [row(db, id)["processing_status"] for id in (first, second, third)] == ["processing", "queued", "processing"]


def test_the_claim_of_a_node_that_holds_a_file_is_refused_by_the_index(db: Database) -> None:
    files(db, "a", "b")
    node = boot(db)
    held = claim(db, node)

    with pytest.raises(DatabaseError) as refused:
        claims.claim(db, node)

    assert refused.value.sqlstate == "23505"
    assert [found["id"] for found in claims.held(db, "node-a")] == [held.row and held.row["id"]]


def test_older_processors_may_hold_several_files_because_they_know_no_token(db: Database) -> None:
    ids = files(db, "a", "b", "c")

    for id in ids:
        plain(db, id, "processing_status = 'processing', processing_server_id = 'old', processing_started_at = now()")

    assert {row(db, id)["processing_server_id"] for id in ids} == {"old"}


def test_a_zombies_late_plain_update_to_completed_is_refused_under_a_foreign_token(db: Database) -> None:
    id, token = claimed(db)

    with pytest.raises(pg.CheckViolation, match=db.names["fence_check"]):
        plain(db, id, "processing_status = 'completed', processing_completed_at = now()")
    with pytest.raises(pg.CheckViolation, match=db.names["fence_check"]):
        plain(db, id, "processing_status = 'completed', processing_done_token = gen_random_uuid()")

    assert claims.complete(db, id=id, token=token) == "done"


@pytest.mark.parametrize("column", ["processing_server_id", "processing_epoch"])
def test_a_claim_under_a_token_cannot_lose_its_owner(db: Database, column: str) -> None:
    id, _ = claimed(db)

    with pytest.raises(pg.CheckViolation, match=db.names["fence_check"]):
        plain(db, id, f"{column} = NULL, processing_token = gen_random_uuid()")

    assert row(db, id)[column] is not None


@pytest.mark.parametrize("status", ["pending", "PROCESSING", "done", "", " queued", "error"])
def test_a_stray_status_is_refused(db: Database, status: str) -> None:
    (id,) = files(db, "a")

    with pytest.raises(pg.CheckViolation, match=db.names["state_check"]):
        plain(db, id, f"processing_status = '{status}'")
    with pytest.raises(pg.CheckViolation, match=db.names["state_check"]), application(db.settings) as connection:
        run(connection, f"INSERT INTO {db.settings.files} (processing_status) VALUES ('{status}')")

    assert row(db, id)["processing_status"] == "queued"


@pytest.mark.parametrize("assignments", [
    "processing_status = 'queued'",
    "processing_status = 'failed', processing_errors = 'the application says so'",
    "processing_status = NULL",
])  # fmt: skip
def test_a_plain_update_that_ends_a_claim_takes_the_token_away(db: Database, assignments: str) -> None:
    id, token = claimed(db)

    plain(db, id, assignments)

    found = row(db, id)
    assert (found["processing_token"], found["processing_epoch"]) == (None, None)
    assert fail(db, id, token) == "lost"
    with pytest.raises(ClaimLostError, match=f"file {id}"):
        claims.complete(db, id=id, token=token)
    assert row(db, id) == found


def test_a_row_that_becomes_queued_without_its_time_gets_it(db: Database) -> None:
    (id,) = files(db, "a")
    with application(db.settings) as connection:
        run(
            connection,
            f"INSERT INTO {db.settings.files} (processing_status, processing_queued_at) VALUES ('queued', NULL)",
        )
        change(connection, db.settings.files, id, "processing_status = 'failed', processing_queued_at = NULL")
        change(connection, db.settings.files, id, "processing_status = 'queued'")

        ages = rows(
            connection, db.settings.files, "extract(epoch FROM clock_timestamp() - processing_queued_at) AS age"
        )

    assert len(ages) == 2
    assert all(0 <= found["age"] < 60 for found in ages)


def test_a_claim_without_its_start_gets_one_also_when_it_is_inserted(db: Database) -> None:
    (id,) = files(db, "a")

    plain(db, id, "processing_status = 'processing', processing_server_id = 'old'")
    with application(db.settings) as connection:
        run(connection, f"INSERT INTO {db.settings.files} (processing_status) VALUES ('processing')")

    with db.connection() as connection:
        ages = rows(
            connection, db.settings.files, "extract(epoch FROM clock_timestamp() - processing_started_at) AS age"
        )
    assert [0 <= found["age"] < 60 for found in ages] == [True, True]


def test_a_completed_row_set_back_to_processing_loses_the_old_token(db: Database) -> None:
    id, token = claimed(db)
    claims.complete(db, id=id, token=token)

    plain(db, id, "processing_status = 'processing', processing_server_id = 'old', processing_started_at = now()")

    found = row(db, id)
    assert (found["processing_token"], found["processing_epoch"]) == (None, None)
    assert fail(db, id, token) == "lost"
    assert claims.release(db, id=id, token=token, reason="", actor="test") == "lost"
    plain(db, id, "processing_status = 'completed', processing_completed_at = now()")
    assert row(db, id)["processing_status"] == "completed"


def test_a_claim_taken_over_by_a_plain_update_is_lost_to_its_first_holder(db: Database) -> None:
    id, token = claimed(db)

    plain(db, id, "processing_server_id = 'old'")

    assert row(db, id)["processing_token"] is None
    with pytest.raises(ClaimLostError):
        claims.complete(db, id=id, token=token)
    assert row(db, id)["processing_status"] == "processing"
    assert row(db, id)["processing_server_id"] == "old"


def test_a_file_that_the_application_requeued_and_another_node_claimed_is_lost_to_the_zombie(db: Database) -> None:
    id, zombie = claimed(db)
    plain(db, id, "processing_status = 'queued', processing_queued_at = NULL")
    heir = claim(db, boot(db, "node-b"))

    for action in (lambda: claims.complete(db, id=id, token=zombie), lambda: _inside(db, id, zombie)):
        with pytest.raises(ClaimLostError):
            action()

    assert fail(db, id, zombie) == "lost"
    assert claims.complete(db, id=id, token=heir.token) == "done"
    assert row(db, id)["processing_attempt"] == 2


def _inside(db: Database, id: str, token: str) -> None:
    with claims.completing(db, id=id, token=token) as tx:
        tx.execute("CREATE TABLE written_by_a_zombie ()")
