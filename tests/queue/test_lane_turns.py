"""Which lanes a claim asks: one alone while it has files, several after one had none; the plan with a million files."""

from __future__ import annotations

import contextlib
import statistics

import pytest

from opskit import migration
from opskit.database import Database
from opskit.queue import lanes
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus
from tests.support.nodes import ask, counts
from tests.support.tables import boot
from tests.worker.test_counts import drained, nodes

pytestmark = pytest.mark.new_database  # each of these tests changes the table


def laned(db: Database) -> Database:
    """A table in which nobody vacuums or analyzes but the test, and a column for its lanes."""
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN customer integer")
    ask(db, f"ALTER TABLE {db.settings.files} SET (autovacuum_enabled = off)")
    return db


def queue_many(db: Database, count: int, of_lanes: int) -> None:
    """Queue so many files, in so many lanes."""
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, customer, processing_queued_at) "
        "SELECT 'file-' || n, 'queued', n %% %s, now() - (%s - n) * interval '1 millisecond' "
        "FROM generate_series(1, %s) AS n",
        of_lanes, count, count,
    )  # fmt: skip


def test_a_lane_is_asked_alone_after_the_first_one_had_a_file_and_with_others_after_it_had_none(db: Database) -> None:
    queue_many(laned(db), 30, of_lanes=10)
    migration.set_lanes(db, "customer", actor="test")
    lanes.column(db)
    mine = lanes.Lanes(db, lanes.Route(None, frozenset()))

    first = mine.next(alone=True)
    mine.took(first.lanes[0], "2026-01-01 00:00:00+00")
    alone = mine.next(alone=True)
    mine.had_no_first()
    several = mine.next(alone=True)
    mine.took(several.lanes[2], "2026-01-01 00:00:00+00")
    after_empty_ones = mine.next(alone=True)
    mine.took(after_empty_ones.lanes[0], "2026-01-01 00:00:00+00")

    assert (len(first.lanes), first.alone) == (8, False)
    assert (alone.lanes, alone.alone) == (first.lanes[1:2], True)
    assert (several.lanes[0], several.alone) == (first.lanes[1], False)
    assert (after_empty_ones.lanes[0], after_empty_ones.alone) == (several.lanes[3], False)
    assert mine.next(alone=True).alone
    assert not mine.next().alone


def test_files_without_a_lane_are_never_asked_for_alone(db: Database) -> None:
    laned(db)
    ask(db, f"INSERT INTO {db.settings.files} (original_filename, processing_status) VALUES ('a', 'queued')")
    migration.set_lanes(db, "customer", actor="test")
    lanes.column(db)
    mine = lanes.Lanes(db, lanes.Route(None, frozenset()))
    mine.took(mine.next().lanes[0], "-infinity")

    assert mine.next(alone=True) == lanes.Turn((None,), ("-infinity",))


# Emptied lanes are found eight at a time, the looks at all lanes are in it.
@pytest.mark.parametrize(("of_lanes", "most"), [(3, 1.04), (400, 1.18)])
def test_a_file_of_a_lane_takes_one_statement_whether_lanes_are_long_or_short(
    db: Database, of_lanes: int, most: float
) -> None:
    queue_many(laned(db), 400, of_lanes)
    migration.set_lanes(db, "customer", actor="test")

    cost = drained(db)

    assert cost.files == 400
    assert cost.statements / cost.files <= most


def test_lanes_that_others_have_emptied_are_passed_over_eight_at_a_time(db: Database) -> None:
    queue_many(laned(db), 800, of_lanes=400)
    migration.set_lanes(db, "customer", actor="test")
    asked: list[bool] = []
    emptied: list[bool] = []

    with Database(db.settings, pooled=False, node=True) as own, contextlib.closing(SharedStatus()) as shared_status:
        child = Child(own, shared_status, boot(db), lambda file: None if emptied else empty())
        ask_server = own.ask

        def counted(name: str, /, **values: str) -> dict[str, str | None]:
            asked.append(name.endswith("of_lane"))
            return ask_server(name, **values)

        def empty() -> None:
            # Of 390 lanes another node has taken all files since this one has looked.
            emptied.append(True)
            ask(
                db,
                f"UPDATE {db.settings.files} SET processing_status = 'completed' "
                "WHERE processing_status = 'queued' AND customer >= %s", 10,
            )  # fmt: skip

        own.ask = counted  # type: ignore[method-assign]
        child.run(drain=True)

    assert counts(db)["completed"] == 800
    # 400 lanes, eight at a time, and once more for each of the ten that have files, which are asked alone again.
    assert len(asked) <= 20 + 2 * 60
    assert 0 < sum(asked) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("known", ["never analyzed", "analyzed", "analyzed with one lane"])
def test_with_a_thousand_lanes_among_a_million_files_a_claim_reads_some_pages_of_their_index(
    db: Database, known: str
) -> None:
    laned(db)
    migration.set_lanes(db, "customer", actor="test")
    if known == "analyzed with one lane":
        queue_many(db, 20_000, of_lanes=1)
        ask(db, f"ANALYZE {db.settings.files}")
    queue_many(db, 1_000_000, of_lanes=1000)
    if known == "analyzed":
        ask(db, f"ANALYZE {db.settings.files}")

    cost = drained(db, files=60, plans=True)

    assert len(cost.hot()) >= 50
    for plan in cost.hot():
        scans = [node for node in nodes(plan) if "Scan" in node["Node Type"]]
        assert not [node for node in scans if node["Node Type"] in ("Seq Scan", "Bitmap Heap Scan")], scans
        assert not [node["Node Type"] for node in nodes(plan) if "Sort" in node["Node Type"]]
        of_lanes = [node for node in scans if node.get("Index Name") == db.names["lanes_index"]]
        assert sum(node["Actual Loops"] for node in of_lanes) == 1, scans
    # Measured: 34; without lanes 31.
    assert statistics.median(cost.buffers()) <= 45
    assert max(cost.buffers()) <= 90
