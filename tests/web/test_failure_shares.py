"""A group of failures tells its share by node and by lane, its trend, and who is at fault."""

from __future__ import annotations

import pytest

from opskit import stats
from opskit.database import Database
from tests.queue.test_lanes import laned, queued
from tests.support.dashboard import Open, choose, execute, said, tables

ERROR = "ValueError: line # is bad"


def fail(db: Database, lanes: dict[str, int], *, nodes: int = 2) -> None:
    """So many files of each lane failed with one error, on so many nodes in turn."""
    for lane, count in lanes.items():
        queued(db, lane, count)
    execute(
        db,
        "UPDATE {files} SET processing_status = 'failed', processing_completed_at = now() - interval '5 min', "
        "processing_attempt = 1, processing_server_id = 'node-' || id %% %s::int, "
        "processing_errors = 'ValueError: line ' || id || ' is bad'",
        nodes,
    )
    execute(
        db,
        "INSERT INTO {nodes} (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds) "
        "SELECT 'node-' || n, gen_random_uuid(), 'host', n, '0', now(), now(), now() + interval '1 h', 3600 "
        "FROM generate_series(0, 2) AS n",
    )


def group(open_page: Open) -> str:
    app = open_page("failures.py")
    choose(app, "group", ERROR)
    return said(app)


@pytest.mark.parametrize(
    ("lanes", "nodes", "told"),
    [
        ({"north": 5, "south": 5}, 2, "**It is the files**: they failed on 2 nodes. By node: node-0 5, node-1 5."),
        ({"north": 9, "south": 1}, 2, "**It is the files** of lane north: they failed on 2 nodes."),
        ({"north": 5, "south": 5}, 1, "**It may be the node**: node-0 has 10 of 10; 3 nodes run."),
    ],
)
def test_a_group_says_whether_the_files_a_lane_or_a_node_is_at_fault(
    open_page: Open, db: Database, lanes: dict[str, int], nodes: int, told: str
) -> None:
    laned(db)
    fail(db, lanes, nodes=nodes)

    words = group(open_page)

    assert told in words
    assert f"By lane: north {lanes['north']}, south {lanes['south']}." in words


def test_a_file_without_a_lane_is_counted_apart(open_page: Open, db: Database) -> None:
    laned(db)
    fail(db, {"north": 4, "south": 4})
    execute(db, "UPDATE {files} SET customer = NULL WHERE customer = 'south'")

    assert "By lane: (none) 4, north 4." in group(open_page)


def test_a_table_without_lanes_tells_none(open_page: Open, full: Database) -> None:
    app = open_page("failures.py")
    choose(app, "group", "line # is $bad$")

    assert "By node: " in said(app)
    assert "By lane" not in said(app)
    assert "Lane" not in tables(app)


def test_the_trend_of_each_group_is_that_of_its_files_by_the_hour(db: Database) -> None:
    laned(db)
    fail(db, {"north": 6})
    execute(db, "UPDATE {files} SET processing_completed_at = now() - id %% 3 * interval '2 h' - interval '1 min'")
    execute(db, "UPDATE {files} SET processing_completed_at = now() - interval '25 h' WHERE id = 6")
    execute(
        db,
        "UPDATE {files} SET processing_failure = jsonb_build_object('attempt', 1, 'error', 'KeyError: …', "
        "'place', 'work.py in process') WHERE id %% 3 = 1",
    )

    found = {(row["error"], row["hours_ago"]): row["file_count"] for row in db.run("failure_trend", of_lane="")}

    assert found == {("KeyError: … (work.py in process)", 2): 2, (ERROR, 0): 1, (ERROR, 4): 2}
    groups = {row["error"]: row["last_day"] for row in stats.records(stats.failures(db))}
    for error, last_day in groups.items():
        assert sum(count for (name, _), count in found.items() if name == error) == last_day
    assert db.run("failure_trend", of_lane="no such lane") == []


def test_the_trend_stands_in_the_table_oldest_hour_first(open_page: Open, db: Database) -> None:
    laned(db)
    fail(db, {"north": 3})
    execute(db, "UPDATE {files} SET processing_completed_at = now() - interval '23 h 30 min' WHERE id = 1")

    app = open_page("failures.py")

    (line,) = app.dataframe[0].value.to_dict("records")
    assert list(line["By the hour"]) == [1, *[0] * 22, 2]
