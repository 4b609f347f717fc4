"""Findings about the other environment of a database."""

from __future__ import annotations

import pytest

from opskit.database import Database
from tests.support.examining import examined, mend, the_one
from tests.support.nodes import ask
from tests.support.tables import boot

TABLE, NODES = "dev_uploaded_files", "dev_processing_nodes"


def test_two_environments_that_are_alike_are_healthy(healthy: Database, other: Database) -> None:
    boot(other, "node-p", lease_seconds=600.0)
    assert (examined(healthy), examined(other)) == ([], [])


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "breaking",
    [
        "DROP INDEX uploaded_files_processing_held",
        "DROP TRIGGER uploaded_files_processing_new ON uploaded_files",
        "DROP TRIGGER uploaded_files_processing_guard ON uploaded_files",
        "ALTER TABLE uploaded_files DROP COLUMN processing_result",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uploaded_files_processing_queue'::regclass",
    ],
)
def test_what_the_other_environment_lacks_is_told_and_migrated(
    healthy: Database, other: Database, breaking: str
) -> None:
    ask(healthy, breaking)

    finding = the_one(healthy, r"^uploaded_files \(production\) is not migrated as this environment's table is: ")

    assert (finding.level, finding.mend) == ("warning", "opskit migrate --env production")
    mend(healthy.settings, finding)
    assert examined(healthy) == []


@pytest.mark.slow
def test_an_index_of_the_other_environment_that_is_another_one_is_built_anew(
    healthy: Database, other: Database
) -> None:
    ask(healthy, "DROP INDEX uploaded_files_processing_ended")
    ask(healthy, "CREATE INDEX uploaded_files_processing_ended ON uploaded_files (processing_status)")

    finding = the_one(healthy, r"^index \.\.\._processing_ended is USING btree .* in uploaded_files and USING btree")

    assert (finding.level, finding.mend) == ("warning", "opskit migrate --env production")
    mend(healthy.settings, finding)
    assert examined(healthy) == []


def test_columns_of_the_application_that_development_lacks_are_told(healthy: Database, other: Database) -> None:
    ask(healthy, f"ALTER TABLE {TABLE} ADD COLUMN in_work text")
    # Only one of them is the application's: nothing to compare.
    assert examined(healthy) == []
    ask(healthy, 'ALTER TABLE uploaded_files ADD COLUMN "the amount" numeric(10, 2), ADD COLUMN owner bigint')
    ask(healthy, f"ALTER TABLE {TABLE} ADD COLUMN owner integer")

    other_way, this_way = examined(healthy)

    assert other_way.what == "column owner is bigint in uploaded_files and integer in dev_uploaded_files"
    assert this_way.what == "column the amount is numeric(10,2) in uploaded_files and missing in dev_uploaded_files"
    for finding in (other_way, this_way):
        mend(healthy.settings, finding)
    # What development has and production lacks is a release on its way.
    assert examined(healthy) == []
