"""Search: what is typed, what is found in the whole table, and in which order."""

from __future__ import annotations

import pytest

from opskit.database import Database
from opskit.errors import SettingError
from opskit.queue import searching
from opskit.queue.searching import Search, understood
from tests.support.tables import boot, claim, fail, files, put


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("invoice 2026", Search(text="invoice 2026")),
        (
            "customer_id:1044 state:failed node:prod-07 since:24h invoice",
            Search(
                text="invoice",
                status="failed",
                server_id="prod-07",
                since_seconds=86400,
                columns={"customer_id": "1044"},
            ),
        ),
        ("secret:1 a:b", Search(text="secret:1 a:b")),
        ("https://example.com/x.csv", Search(text="https://example.com/x.csv")),
        ("", Search()),
    ],
)
def test_what_is_typed_is_understood(text: str, wanted: Search) -> None:
    assert understood(text, ("customer_id",)) == wanted


def test_a_length_of_time_that_is_none_is_told() -> None:
    with pytest.raises(SettingError, match="since:soon must look like"):
        understood("since:soon")


def names(db: Database, text: str, *columns: str) -> list[str]:
    return [row["original_filename"] for row in searching.found(db, understood(text, columns))]


def test_exact_names_come_first_then_beginnings_then_the_rest(db: Database) -> None:
    files(db, "my-invoice.csv", "invoice.csv", "invoice.csv.old", "other.csv")

    assert names(db, "Invoice.csv") == ["invoice.csv", "invoice.csv.old", "my-invoice.csv"]
    assert names(db, "invoice")[-1] == "my-invoice.csv"
    assert names(db, "nothing like it") == []


def test_an_id_comes_before_every_name(db: Database) -> None:
    first, _ = files(db, "one.csv", "two-1.csv")

    assert names(db, first)[0] == "one.csv"


def test_a_failed_file_is_found_behind_any_number_of_newer_ones(db: Database) -> None:
    (old,) = files(db, "1044-20261120.csv")
    fail(db, old, claim(db, boot(db)).token, max_failures=1)
    put(db, old, "processing_completed_at = now() - interval '9 days'")
    with db.connection() as connection:
        connection.execute(
            f"INSERT INTO {db.settings.files} (original_filename, processing_status, processing_completed_at)"
            " SELECT 'new-' || n, 'completed', now() FROM generate_series(1, 2000) AS n".encode()
        )

    assert names(db, "1044-20261120") == ["1044-20261120.csv"]
    assert names(db, "1044")[0] == "new-1043"  # its id
    assert names(db, "1044-2 state:failed") == ["1044-20261120.csv"]
    assert names(db, "1044-2 state:completed") == []
    assert names(db, "1044-2 since:24h") == []
    assert names(db, "1044-2 since:10d node:node-a") == ["1044-20261120.csv"]


def test_a_file_is_found_by_a_column_of_the_application(db: Database) -> None:
    with db.connection() as connection:
        connection.execute(f"ALTER TABLE {db.settings.files} ADD COLUMN customer_id bigint".encode())
    files(db, "a.csv", "b.csv", customer_id=1044)
    files(db, "c.csv", customer_id=7)

    assert sorted(names(db, "customer_id:1044", "customer_id")) == ["a.csv", "b.csv"]
    assert names(db, "customer_id:1044 a", "customer_id") == ["a.csv"]
    assert names(db, "customer_id:no-number", "customer_id") == []
    with pytest.raises(SettingError, match="the table has no column 'nothing'"):
        names(db, "nothing:1", "nothing")
