"""The forecast against simulated fleets: within a fifth of the truth, and never calmer than the queue is."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from psycopg import sql

from opskit import queue, stats
from opskit.database import Database
from opskit.support import wording

File = tuple[float, float, float]
"""When a file came, when its attempt began and when that ended [s]."""


def served(arrivals: Iterable[float], nodes: Sequence[float], run: Callable[[], float]) -> list[File]:
    """What nodes that start at given times make of the files: the oldest first, one at a time each."""
    free = list(nodes)
    heapq.heapify(free)
    files = []
    for came in sorted(arrivals):
        begun = max(came, heapq.heappop(free))
        ended = begun + run()
        heapq.heappush(free, ended)
        files.append((came, begun, ended))
    return files


def empties_after(files: Sequence[File], now: float) -> float:
    """How long after a moment the queue is empty for the first time [s]."""
    steps = sorted([(came, 1) for came, _, _ in files] + [(begun, -1) for _, begun, _ in files])
    waiting = 0
    for at, step in steps:
        waiting += step
        if at > now and waiting == 0:
            return at - now
    raise AssertionError("it never is")


def stream(per_minute: float, begin: float, end: float, chance: random.Random) -> list[float]:
    """Files that come one by one, at random."""
    times = itertools.accumulate(iter(lambda: chance.expovariate(per_minute / 60), None), initial=begin)
    return list(itertools.takewhile(lambda at: at < end, itertools.islice(times, 1, None)))


def forecast_at(db: Database, files: Sequence[File], nodes: Sequence[float], now: float) -> dict[str, Any]:
    """The forecast for a table and nodes as they are at a moment of the simulation."""
    with db.connection() as connection:
        for name in ("files", "nodes"):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(db.names[name])))
        rows = [
            (
                "queued" if begun > now else "processing" if ended > now else "completed",
                now - came,
                now - begun if begun <= now else None,
                now - ended if ended <= now else None,
            )
            for came, begun, ended in files
            if came <= now
        ]
        with connection.cursor() as cursor:
            cursor.executemany(
                sql.SQL(
                    """INSERT INTO {} (processing_status, processing_queued_at, processing_started_at,
                                       processing_completed_at)
                       VALUES (%s, now() - %s * interval '1 s', now() - %s * interval '1 s',
                               now() - %s * interval '1 s')"""
                ).format(sql.Identifier(db.names["files"])),
                rows,
            )
            cursor.executemany(
                sql.SQL(
                    """INSERT INTO {} (server_id, boot, started_at, beat_at, lease_until, lease_seconds)
                       VALUES (%s, gen_random_uuid(), now() - %s * interval '1 s', now(),
                               now() + interval '1 h', 3600)"""
                ).format(sql.Identifier(db.names["nodes"])),
                [(f"node-{number}", now - begun) for number, begun in enumerate(nodes) if begun <= now],
            )
    return db.one("forecast")


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("nodes", "seconds", "coming", "backlog"),
    [
        (3, (15, 25), 0, 147),
        (10, (10, 30), 0, 2000),
        (10, (15, 25), 10, 800),
        (30, (2, 6), 200, 5000),
        (2, (60, 180), 0, 60),
    ],
)
def test_a_steady_fleet_empties_its_queue_within_a_fifth_of_the_forecast(
    db: Database, nodes: int, seconds: tuple[float, float], coming: float, backlog: int, seed: int
) -> None:
    chance = random.Random(seed)
    arrivals = [0.0] * backlog + (stream(coming, 0, 20_000, chance) if coming else [])
    files = served(arrivals, [0.0] * nodes, lambda: chance.uniform(*seconds))
    half = empties_after(files, 0.0) / 2

    for now in (half * 0.6, half):
        found = forecast_at(db, files, [0.0] * nodes, now)

        assert found["verdict"] == "emptying"
        assert found["empty_in_seconds"] == pytest.approx(empties_after(files, now), rel=0.2)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "comes",
    {
        "steadily": lambda chance: stream(40, 0, 3000, chance),
        "a little faster than they end": lambda chance: stream(34, 0, 3000, chance),
        "in batches": lambda chance: [300.0 * batch + 0.01 * n for batch in range(11) for n in range(300)],
        "faster since a while": lambda chance: stream(5, 0, 1500, chance) + stream(60, 1500, 3000, chance),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_growing_queue_is_never_called_emptying(
    db: Database, comes: tuple[str, Callable[[random.Random], list[float]]], seed: int
) -> None:
    chance = random.Random(seed)
    files = served(comes[1](chance), [0.0] * 10, lambda: chance.uniform(10, 30))  # 30 a minute

    for now in (1650.0, 2000.0, 2600.0, 2999.0):
        assert forecast_at(db, files, [0.0] * 10, now)["verdict"] in ("growing", "steady")
    if comes[0] != "a little faster than they end":
        assert forecast_at(db, files, [0.0] * 10, 2999.0)["verdict"] == "growing"


def test_one_batch_on_an_idle_fleet_is_no_rate(db: Database) -> None:
    chance = random.Random(5)
    arrivals = stream(1, 0, 6000, chance) + [3600 + n / 100 for n in range(300)]
    files = served(arrivals, [0.0] * 3, lambda: chance.uniform(10, 30))

    for now in (3700.0, 3900.0, 4500.0):
        found = forecast_at(db, files, [0.0] * 3, now)

        assert found["verdict"] == "emptying"
        assert found["empty_in_seconds"] == pytest.approx(empties_after(files, now), rel=0.2)


def test_nodes_that_have_just_come_count_at_once(db: Database) -> None:
    chance = random.Random(5)
    nodes = [0.0] * 3 + [600.0] * 7
    files = served([0.0] * 1500, nodes, lambda: chance.uniform(10, 30))

    found = forecast_at(db, files, nodes, 630.0)

    assert found["empty_in_seconds"] == pytest.approx(empties_after(files, 630.0), rel=0.2)


def test_a_queue_that_nobody_claims_from_stands_still(db: Database) -> None:
    files = served([0.0] * 100, [0.0] * 2, lambda: 20.0)
    assert forecast_at(db, files, [0.0] * 2, 500.0)["verdict"] == "emptying"

    queue.pause(db, "*", actor="test", reason="")

    found = db.one("forecast")
    assert (found["verdict"], found["ended_per_minute"], found["empty_in_seconds"]) == ("standing", 0, None)
    assert wording.outlook(found["verdict"], found["empty_in_seconds"]) == "stands still"


def test_a_queue_without_a_single_node_stands_still(db: Database) -> None:
    files = served([0.0] * 10, [1e9], lambda: 20.0)

    assert forecast_at(db, files, [], 60.0)["verdict"] == "standing"


def test_an_empty_queue_and_one_that_waits_for_retries_are_empty(db: Database) -> None:
    assert stats.forecast(db)["verdict"].tolist() == ["empty"]
    forecast_at(db, [(0.0, 50.0, 60.0)], [0.0], 0.0)
    with db.connection() as connection:
        connection.execute(
            sql.SQL("UPDATE {} SET processing_queued_at = now() + interval '1 min', processing_failures = 1").format(
                sql.Identifier(db.names["files"])
            )
        )

    found = db.one("forecast")

    assert (found["queued"], found["due"], found["verdict"], found["empty_in_seconds"]) == (1, 0, "empty", 0)


def test_a_retry_does_not_come_again(db: Database) -> None:
    forecast_at(db, [(0.0, 3500.0, 3600.0)], [0.0], 3400.0)
    with db.connection() as connection:
        connection.execute(
            sql.SQL(
                """WITH file AS (UPDATE {} SET processing_failures = 1, processing_queued_at = now() - interval '10 s'
                                 RETURNING id)
                   INSERT INTO {} (kind, outcome, next_status, file_id, started_at)
                   SELECT 'attempt', 'raised', 'queued', id::text, now() - interval '50 min' FROM file"""
            ).format(*(sql.Identifier(db.names[name]) for name in ("files", "events")))
        )

    found = db.one("forecast")

    assert (found["queued"], found["came_quarter_hour"]) == (1, 0)


def test_times_without_end_and_rows_of_older_processors_break_nothing(db: Database) -> None:
    forecast_at(db, [(0.0, 10.0, 20.0), (0.0, 10.0, 90.0), (0.0, 100.0, 200.0)], [0.0], 60.0)
    for column in ("processing_queued_at", "processing_started_at"):
        for value in ("'-infinity'", "'infinity'", "NULL"):
            with db.connection() as connection:
                connection.execute(f"UPDATE {db.names['files']} SET {column} = {value}".encode())

            assert db.one("forecast")["verdict"]


@pytest.mark.parametrize(
    ("verdict", "seconds", "words"),
    [
        ("emptying", 960.0, "empty in 16 min"),
        ("growing", None, "grows, will not empty"),
        ("steady", None, "neither grows nor empties"),
        ("unknown", None, "too early to tell"),
        ("empty", 0.0, "empty"),
    ],
)
def test_a_forecast_is_said_in_a_few_words(verdict: str, seconds: float | None, words: str) -> None:
    assert wording.outlook(verdict, seconds) == words


def test_a_rate_is_said_with_as_many_digits_as_matter() -> None:
    assert [wording.rate(rate) for rate in (9.04, -12.4, 1234.5, None)] == ["9.0", "−12", "1,234", "–"]
