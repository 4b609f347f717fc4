"""What the table's guard refuses and mends, and what it lets pass: each condition at its edge."""

from __future__ import annotations

import pytest
from psycopg import errors as pg

from opskit.database import Database
from opskit.queue import claims
from tests.support.tables import application, boot, change, claim, claimed, files, row, run

TOKEN = "00000000-0000-0000-0000-000000000007"


def plain(db: Database, id: str, assignments: str) -> None:
    """A plain UPDATE as the application writes it."""
    with application(db.settings) as connection:
        change(connection, db.settings.files, id, assignments)


def inserted(db: Database, columns: str, values: str) -> str:
    with application(db.settings) as connection:
        query = f"INSERT INTO {db.settings.files} ({columns}) VALUES ({values}) RETURNING id::text AS id"
        return str(run(connection, query)[0]["id"])


@pytest.mark.parametrize("assignments", ["processing_server_id = 'node-b'", "processing_status = 'completed'"])
def test_a_claim_that_is_taken_over_by_a_plain_update_loses_its_token(db: Database, assignments: str) -> None:
    id, token = claimed(db)
    if "completed" in assignments:
        claims.complete(db, id=id, token=token)
        assignments = "processing_status = 'processing', processing_server_id = 'node-a'"
    plain(db, id, assignments)

    assert (row(db, id)["processing_token"], row(db, id)["processing_epoch"]) == (None, None)


def test_a_claim_that_its_owner_touches_keeps_its_token(db: Database) -> None:
    id, token = claimed(db)
    plain(db, id, "original_filename = 'renamed'")

    assert str(row(db, id)["processing_token"]) == token


@pytest.mark.parametrize("lacking", ["processing_server_id", "processing_epoch", ""])
def test_a_claim_under_a_new_token_needs_its_owner(db: Database, lacking: str) -> None:
    (id,) = files(db, "a")
    given = {"processing_server_id": "'node-a'", "processing_epoch": "1", "processing_started_at": "now()"}
    given.pop(lacking, None)
    claim = ", ".join(f"{name} = {value}" for name, value in given.items())
    assignments = f"processing_status = 'processing', processing_token = '{TOKEN}', {claim}"
    if not lacking:
        plain(db, id, assignments)
        assert str(row(db, id)["processing_token"]) == TOKEN
        return
    with pytest.raises(pg.CheckViolation, match="needs processing_server_id and processing_epoch"):
        plain(db, id, assignments)


def test_a_claim_that_says_no_start_begins_now_and_one_that_says_it_keeps_it(db: Database) -> None:
    first, second, third = files(db, "a", "b", "c")
    plain(db, first, "processing_status = 'processing', processing_server_id = 'old'")
    plain(db, second, "processing_status = 'processing', processing_started_at = '2020-01-01'")
    whole = f"processing_server_id = 'node-a', processing_epoch = 1, processing_token = '{TOKEN}'"
    plain(db, third, f"processing_status = 'processing', {whole}")

    starts = [row(db, id)["processing_started_at"] for id in (first, second, third)]
    assert [start.year > 2020 for start in starts] == [True, False, True]


@pytest.mark.parametrize(("held", "passes"), [(True, False), (False, True)])
def test_a_completion_without_the_token_passes_only_where_no_token_holds_the_file(
    db: Database, held: bool, passes: bool
) -> None:
    id, token = claimed(db)
    if not held:
        # Completed once under a token, then queued and claimed again by an application that knows none.
        claims.complete(db, id=id, token=token)
        plain(db, id, "processing_status = 'queued'")
        plain(db, id, "processing_status = 'processing', processing_server_id = 'old'")
        assert row(db, id)["processing_done_token"] is not None
    if passes:
        plain(db, id, "processing_status = 'completed'")
        assert row(db, id)["processing_status"] == "completed"
    else:
        with pytest.raises(pg.CheckViolation, match="only who has that token may complete it"):
            plain(db, id, "processing_status = 'completed'")


@pytest.mark.parametrize(("assignments", "kept"), [("processing_errors = 'else'", False), ("file_size = 1", True),
                         ("processing_errors = 'else', processing_failure = '[]'", True)])  # fmt: skip
def test_an_identity_is_dropped_that_is_not_the_new_errors(db: Database, assignments: str, kept: bool) -> None:
    (id,) = files(db, "a")
    plain(db, id, "processing_status = 'failed', processing_errors = 'it broke', processing_failure = '[1]'")
    plain(db, id, assignments)

    assert (row(db, id)["processing_failure"] is not None) is kept


def test_a_row_that_is_queued_without_a_place_gets_one_and_no_other_does(db: Database) -> None:
    queued = inserted(db, "processing_status, processing_queued_at", "'queued', NULL")
    placed = inserted(db, "processing_status, processing_queued_at", "'queued', '2020-01-01'")
    waiting = inserted(db, "processing_status, processing_queued_at", "NULL, NULL")

    plain(db, placed, "processing_status = 'failed'")
    plain(db, placed, "processing_status = 'queued'")

    places = [row(db, id)["processing_queued_at"] for id in (queued, placed, waiting)]
    assert (places[0].year > 2020, places[1].year, places[2]) == (True, 2020, None)


def test_a_row_that_is_inserted_is_looked_at_as_one_that_is_changed(db: Database) -> None:
    with_token = inserted(db, "processing_status, processing_token", f"'queued', '{TOKEN}'")
    assert row(db, with_token)["processing_token"] is None
    with pytest.raises(pg.CheckViolation, match="is none of queued, processing, completed, failed"):
        inserted(db, "processing_status", "'done'")
    with pytest.raises(pg.CheckViolation, match="only who has that token"):
        inserted(db, "processing_status, processing_token", f"'completed', '{TOKEN}'")

    assert claim(db, boot(db)).row["id"] == with_token  # type: ignore[index]
