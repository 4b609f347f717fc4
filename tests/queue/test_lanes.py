"""Lanes: they take turns, none starves, and a node takes those that it is told to."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from opskit import doctor, migration, queue, stats
from opskit.database import Database
from opskit.errors import SettingError
from opskit.files.claimed import ClaimedFile
from opskit.queue import claims, lanes
from opskit.web.api import metrics
from opskit.worker.child import Child
from opskit.worker.status import SharedStatus
from tests.support.nodes import ask, counts, running_nodes, until
from tests.support.tables import ask_psql, boot, files, opskit
from tests.worker.test_counts import drained, nodes

pytestmark = pytest.mark.new_database  # each of these tests changes the table

VALUES = {
    "text": ["A", 'with "quotes", commas\\ and {braces}', "Ünïcode", ""],
    "integer": ["1", "20", "-3", "0"],
    "uuid": [f"00000000-0000-0000-0000-00000000000{n}" for n in range(4)],
    "timestamptz": [f"2026-01-0{n} 00:00:00+00" for n in range(1, 5)],
    "boolean": ["true", "false", "true", "false"],
    "numeric": ["1.5", "2.25", "-0.5", "1e3"],
    "varchar(20)": ["a", "b", "c", "d"],
    "kind": ["small", "large", "huge", "odd"],
}


def laned(db: Database, kind: str = "text", column: str = "customer") -> Database:
    """The table with a column of the application's, whose values are the lanes."""
    if kind == "kind":
        ask(db, "CREATE TYPE kind AS ENUM ('small', 'large', 'huge', 'odd')")
    ask(db, f'ALTER TABLE {db.settings.files} ADD COLUMN "{column}" {kind}')
    migration.set_lanes(db, column, actor="test")
    return db


def done(db: Database, *, files: int | None = None, **settings: Any) -> list[str]:
    """Have a node's child drain the queue; the names of what it has processed, in order."""
    order: list[str] = []

    def note(file: ClaimedFile) -> None:
        order.append(file.name)

    changed = dataclasses.replace(db.settings, **settings)
    shared_status = SharedStatus()
    with Database(changed, pooled=False, node=True) as own, contextlib.closing(shared_status):
        child = Child(own, shared_status, boot(db, f"node-{next(NUMBERS)}", **settings), note)
        assert child.run(drain=True, max_files=files) == 0
    return order


NUMBERS = itertools.count()


def queued(db: Database, lane: str | None, count: int, column: str = "customer") -> list[str]:
    """Queue files of one lane, named for it."""
    return files(db, *[f"{lane}-{n}" for n in range(count)], **{column: lane})


def lanes_of(names: Sequence[str]) -> list[str]:
    return [name.rpartition("-")[0] for name in names]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("kind", VALUES)
def test_lanes_of_any_type_take_turns(db: Database, kind: str) -> None:
    laned(db, kind)
    values: list[str | None] = [*dict.fromkeys(VALUES[kind]), None]
    for value in values:
        queued(db, value, 3)

    order = lanes_of(done(db))

    assert len(order) == 3 * len(values)
    for start in range(0, len(order), len(values)):
        assert set(order[start : start + len(values)]) == {str(value) for value in values}
    assert counts(db) == {"completed": len(order)}


def test_one_file_of_a_small_customer_comes_before_the_rest_of_a_large_one(db: Database) -> None:
    laned(db)
    queued(db, "large", 50)
    queued(db, "small", 1)

    assert "small" in lanes_of(done(db, files=2))


def test_the_files_of_a_lane_are_taken_in_the_order_of_the_queue(db: Database) -> None:
    laned(db)
    queued(db, "a", 5)
    queued(db, "b", 5)

    order = done(db)

    assert [name for name in order if name.startswith("a")] == [f"a-{n}" for n in range(5)]
    assert [name for name in order if name.startswith("b")] == [f"b-{n}" for n in range(5)]


def test_a_head_start_counts_within_a_lane(db: Database) -> None:
    laned(db)
    urgent = queued(db, "a", 5)[-1]
    queue.expedite(db, [urgent], actor="ann")

    assert done(db)[0] == "a-4"


def test_a_node_takes_the_lanes_that_it_is_told_to_and_ends_when_they_are_empty(db: Database) -> None:
    laned(db)
    for lane in ("gpu", "cpu", "big, slow", None):
        queued(db, lane, 2)

    assert set(lanes_of(done(db, lanes='gpu,"big, slow"'))) == {"gpu", "big, slow"}
    assert set(lanes_of(done(db, except_lanes="cpu"))) == {"None"}
    queued(db, None, 1)
    assert done(db, except_lanes="(none)", lanes="(none)") == []
    assert set(lanes_of(done(db, except_lanes="(none)"))) == {"cpu"}
    assert counts(db) == {"completed": 8, "queued": 1}


def test_a_node_that_is_to_take_some_lanes_only_refuses_to_take_a_queue_without_lanes(db: Database) -> None:
    files(db, "a")

    with pytest.raises(SettingError, match="run: opskit migrate --lane-column"):
        done(db, lanes="gpu")


def test_a_child_goes_over_to_lanes_and_back_while_it_works(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opskit.worker.claiming.COLUMN_SECONDS", 0.0)
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN customer text")
    seen: list[str | None] = []

    def work(file: ClaimedFile) -> None:
        seen.append(child._claimer.column.lane if child._claimer.column else None)
        if file.name == "a-1":
            migration.set_lanes(db, "customer", actor="test")
        if file.name == "a-3":
            migration.set_lanes(db, None, actor="test")
        raise ValueError("so that the next is claimed by itself")

    queued(db, "a", 6)
    settings = dataclasses.replace(db.settings, max_failures=1, quarantine_after=0)
    with Database(settings, pooled=False, node=True) as own, contextlib.closing(SharedStatus()) as shared_status:
        child = Child(own, shared_status, boot(db), work)
        child.run(drain=True)

    assert seen == [None, None, "customer", "customer", None, None]


def test_a_file_that_is_due_later_is_waited_for(db: Database) -> None:
    laned(db)
    queued(db, "a", 1)
    ask(db, f"UPDATE {db.settings.files} SET processing_queued_at = clock_timestamp() + interval '0.3 seconds'")

    assert done(db) == ["a-0"]


def test_the_column_of_the_lanes_is_one_of_the_applications_that_an_index_takes(db: Database) -> None:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN payload json")

    with pytest.raises(SettingError, match="has no column 'nosuch'"):
        migration.set_lanes(db, "nosuch", actor="test")
    with pytest.raises(SettingError, match="processing_token cannot be the lane"):
        migration.set_lanes(db, "processing_token", actor="test")
    with pytest.raises(SettingError, match="no index takes the values of 'payload'"):
        migration.set_lanes(db, "payload", actor="test")
    assert migration.check(db)
    assert lanes.column(db) is None


def test_an_index_of_the_lanes_that_is_lost_is_missed_and_built_again(db: Database) -> None:
    laned(db)
    ask(db, f"DROP INDEX {db.names['lanes_index']}")

    missing = migration.missing(db)
    migration.migrate(db)

    assert missing == [f"{db.names['lanes_index']}, of the lanes by customer, is missing"]
    assert lanes.column(db) is not None
    migration.set_lanes(db, None, actor="test")
    assert (migration.check(db), lanes.column(db)) == (True, None)


def test_another_column_takes_the_place_of_the_first(db: Database) -> None:
    laned(db)
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN kind_of integer")

    migration.set_lanes(db, "kind_of", actor="test")

    found = lanes.column(db)
    assert found is not None
    assert (found.lane, found.lane_array, migration.chosen_lanes(db)) == ("kind_of", "_int4", "kind_of")
    assert migration.check(db)


def test_a_column_with_a_strange_name_is_the_lane(db: Database) -> None:
    laned(db, column="Kunde Nr. 'x'")
    queued(db, "a", 2, "Kunde Nr. 'x'")

    assert done(db) == ["a-0", "a-1"]


def test_each_lane_is_told_with_its_queue_and_its_age(db: Database) -> None:
    laned(db)
    queued(db, "a", 3)
    queued(db, None, 1)
    ask(db, f"UPDATE {db.settings.files} SET processing_queued_at = now() - interval '1 hour' WHERE customer = 'a'")
    assert claims.claim(db, boot(db)).lane is None  # whoever knows of no lanes claims from the whole queue

    found = stats.records(stats.lanes(db))

    assert [(row["lane"], row["queued"], row["due"], row["processing"]) for row in found] == [
        ("a", 2, 2, 1),
        (None, 1, 1, 0),
    ]
    assert 3600 <= found[0]["oldest_queued_seconds"] < 3700
    files = stats.records(stats.files(db, lane="a"))
    assert {row["lane"] for row in files} == {"a"}
    assert len(files) == 3
    assert [row["lane"] for row in stats.records(stats.files(db, lane="(none)"))] == [None]
    assert [row["lane"] for row in stats.records(stats.nodes(db))] == ["a"]


def test_without_lanes_every_list_is_as_it_was(db: Database) -> None:
    files(db, "a")

    assert stats.lanes(db).empty
    assert stats.records(stats.files(db))[0]["lane"] is None


def test_the_doctor_names_lanes_that_no_node_takes(db: Database) -> None:
    laned(db)
    queued(db, "gpu", 2)
    queued(db, "cpu", 1)
    boot(db, "node-cpu", lanes="cpu,web")
    boot(db, "node-web", except_lanes="gpu,(none)")

    (found,) = [one for one in doctor.examine(db) if one.check == "lanes"]

    assert (found.level, found.condition) == ("error", "lanes-not-taken")
    assert "no node takes the files of 1 lane: gpu; the first is due for" in found.what
    assert found.mend == "opskit worker --lanes gpu"
    assert {row["server_id"]: row["lanes"] for row in stats.records(stats.nodes(db))} == {
        "node-cpu": "cpu, web",
        "node-web": "all but (none), gpu",
    }
    boot(db, "node-all")
    assert [one for one in doctor.examine(db) if one.check == "lanes"] == []


def test_psql_and_the_shell_tell_the_lanes(db: Database) -> None:
    laned(db)
    queued(db, "a", 2)

    by_psql = ask_psql(db.settings, "lanes")
    listed = ask_psql(db.settings, "files_list", of_lane="a")
    shell = json.loads(opskit(db.settings, "stats", "lanes", "--json").stdout)

    assert [(row["lane"], row["queued"]) for row in by_psql] == [("a", "2")]
    assert [row["lane"] for row in listed] == ["a", "a"]
    assert [(row["lane"], row["queued"]) for row in shell] == [("a", 2)]


@pytest.mark.slow
def test_the_shell_switches_lanes_on_and_off(db: Database) -> None:
    ask(db, f"ALTER TABLE {db.settings.files} ADD COLUMN customer text")

    planned = opskit(db.settings, "migrate", "--lane-column", "customer", "--plan")
    on = opskit(db.settings, "migrate", "--lane-column", "customer")
    wrong = opskit(db.settings, "migrate", "--lane-column", "nosuch")
    off = opskit(db.settings, "migrate", "--no-lanes")

    assert "CREATE INDEX CONCURRENTLY" in planned.stdout, planned.stderr
    assert "the lanes of dev_uploaded_files are the values of customer" in on.stderr + on.stdout
    assert (wrong.returncode, "has no column 'nosuch'" in wrong.stderr) == (1, True)
    assert (off.returncode, lanes.column(db)) == (0, None)


def test_metrics_name_the_fifty_longest_lanes_and_sum_up_the_rest() -> None:
    rows = [{"lane": str(n), "queued": 100 - n, "oldest_queued_seconds": n} for n in range(60)]

    text = "".join(str(sample) for metric in metrics._of_lanes(rows, "development") for sample in metric.samples)

    assert len(next(iter(metrics._of_lanes(rows, "development"))).samples) == metrics.MOST_LANES + 1
    assert "(other)" in text


def test_with_a_thousand_lanes_the_claim_reads_the_index_of_the_lanes_and_sorts_nothing(db: Database) -> None:
    laned(db, "integer")
    ask(db, f"ALTER TABLE {db.settings.files} SET (autovacuum_enabled = off)")
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, customer) "
        "SELECT 'file-' || n, 'queued', n %% 1000 FROM generate_series(1, 100000) AS n WHERE %s",
        True,
    )

    cost = drained(db, files=12, plans=True)

    assert len(cost.hot()) >= 10
    for plan in cost.hot():
        mine = [node for node in nodes(plan) if node.get("Relation Name") == db.settings.files]
        assert {node["Node Type"] for node in mine} <= {"Index Scan", "Index Only Scan", "ModifyTable"}, mine
        assert not [node["Node Type"] for node in nodes(plan) if "Sort" in node["Node Type"]]
        assert db.names["lanes_index"] in {node.get("Index Name") for node in mine}
        # One lane is asked, not all eight: a row of each would be locked.
        scans = [node for node in mine if node.get("Index Name") == db.names["lanes_index"]]
        assert sum(node["Actual Loops"] for node in scans) <= 1, scans
    assert statistics.median(cost.buffers()) <= 50


def test_the_probe_of_an_open_breaker_is_a_file_of_the_lanes_that_a_node_takes(db: Database) -> None:
    laned(db)
    queued(db, "cpu", 3)
    queued(db, "gpu", 1)
    with db.connection() as connection:
        connection.execute(
            f"INSERT INTO {db.names['pauses']} (scope, kind, reason, actor, details, next_probe_at, probe_seconds) "
            "VALUES (' breaker', 'breaker', 'ImportError', 'test', '{}', now() - interval '1 second', 1)".encode()
        )
    lanes.column(db)
    mine = lanes.Lanes(db, lanes.Route(frozenset({"gpu"}), frozenset()))

    probe = claims.claim(db, boot(db), turn=mine.next())

    assert (probe.outcome, probe.lane, probe.broken) == ("claimed", "gpu", "ImportError")


@pytest.mark.slow
def test_a_file_of_a_new_customer_begins_within_one_files_time_behind_twenty_thousand_of_another(
    db: Database, tmp_path: Path
) -> None:
    laned(db)
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, customer) "
        "SELECT 'a-' || n, 'queued', 'a' FROM generate_series(1, 20000) AS n WHERE %s",
        True,
    )
    held = f"SELECT 1 FROM {db.settings.files} WHERE processing_status = 'processing'"
    with running_nodes(db, tmp_path) as start:
        for number in range(4):
            start(f"node-{number}", act="slow", ACT_SECONDS="1.5", OPSKIT_LEASE_SECONDS="30")
        until(lambda: len(ask(db, held)) == 4)
        until(lambda: counts(db).get("completed", 0) >= 8)

        (b,) = queued(db, "b", 1)
        until(lambda: db.one("file", id=b)["processing_status"] != "queued")

    begun = db.one("file", id=b)
    assert (begun["processing_started_at"] - begun["processing_queued_at"]).total_seconds() < 1.5
