"""What Prometheus is told: counters that only grow, histograms that add up, and no reading of what is long over."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from opskit import migration, queue, stats
from opskit.database import Database, queries
from opskit.queue import claims, nodes
from opskit.queue.server_id import Boot
from opskit.settings import Settings
from opskit.web.api import metrics
from tests.support.nodes import add_files, ask

HERE = {"environment": "development"}
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def node(db: Database, name: str = "node-a") -> Boot:
    boot = nodes.register(db, name, str(uuid.uuid4()))
    assert boot is not None
    return boot


def claimed(db: Database, boot: Boot) -> tuple[str, str]:
    """Claim the next file: its id and token."""
    answer = claims.claim(db, boot)
    assert answer.row is not None, answer.outcome
    assert answer.token is not None
    return answer.row["id"], answer.token


def scraped(db: Database, tally: metrics.Tally) -> Series:
    """Every series of one scrape, by name and labels; the text is what Prometheus itself can read."""
    (now,) = stats.records(stats.concurrency(db))
    text = metrics.exposition(now, stats.records(stats.nodes(db)), tally.read(db), "development").decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series[f"opskit_{name}", frozenset((HERE | labels).items())]


def counters(series: Series) -> Series:
    """What must never fall."""
    ends = ("_total", "_bucket", "_count", "_sum")
    return {key: number for key, number in series.items() if key[0].endswith(ends)}


def fail(db: Database, id: str, token: str, outcome: str = "raised", max_failures: int = 1) -> None:
    claims.fail(
        db, id=id, token=token, outcome=outcome, error="bad", max_failures=max_failures, retry_seconds=0, actor="node-a"
    )


def test_counters_begin_at_zero_whatever_the_table_holds(db: Database) -> None:
    boot, tally = node(db), metrics.Tally()
    add_files(db, "before.csv")
    claims.complete(db, id=(held := claimed(db, boot))[0], token=held[1])

    first = scraped(db, tally)

    assert set(counters(first).values()) == {0.0}
    assert value(first, "files", state="completed") == 1
    assert value(first, "nodes", state="live") == 1


def test_every_series_is_there_from_the_first_scrape_and_no_other_ever_comes(db: Database) -> None:
    boot, tally = node(db), metrics.Tally()
    first = scraped(db, tally)
    add_files(db, "a.csv", "b.csv")
    claims.complete(db, id=(held := claimed(db, boot))[0], token=held[1])
    fail(db, *claimed(db, boot), outcome="of a later version")

    second = scraped(db, tally)

    assert first.keys() == second.keys()
    assert value(second, "attempts_total", outcome="other") == 1


def test_each_end_of_an_attempt_counts_once(db: Database) -> None:
    boot, tally = node(db), metrics.Tally()
    add_files(db, *(f"{n}.csv" for n in range(5)))
    scraped(db, tally)

    claims.complete(db, id=(held := claimed(db, boot))[0], token=held[1])
    fail(db, *claimed(db, boot), max_failures=3)  # tried again
    ask(
        db,
        f"UPDATE {db.settings.files} SET processing_queued_at = now() - interval '1 h' WHERE processing_failures = 1",
    )
    fail(db, *claimed(db, boot), outcome="rejected")
    fail(db, *claimed(db, boot), outcome="crashed")
    claimed(db, boot)
    series = scraped(db, tally)

    assert value(series, "claims_total") == 5
    assert value(series, "completions_total") == 1
    assert value(series, "failures_total") == 2
    told = {outcome: value(series, "attempts_total", outcome=outcome) for outcome in metrics.OUTCOMES}
    assert {outcome: number for outcome, number in told.items() if number} == {
        "completed": 1, "raised": 1, "rejected": 1, "crashed": 1,
    }  # fmt: skip
    assert value(series, "run_seconds_count", ended="well") == 1
    assert value(series, "run_seconds_count", ended="badly") == 3
    assert counters(scraped(db, tally)) == counters(series)


def test_a_cleanup_counts_by_what_followed(db: Database) -> None:
    boot, tally = node(db), metrics.Tally()
    add_files(db, "held.csv")
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, processing_server_id, "
        "processing_started_at) VALUES ('stale.csv', 'processing', 'older', now() - interval '2 h')",
    )
    scraped(db, tally)
    claimed(db, boot)
    ask(db, f"UPDATE {db.names['nodes']} SET lease_until = now() - interval '1 s'")
    node(db)  # it has started again: its claim is an orphan

    assert len(queue.cleanup(db, actor="ann").ended) == 2
    series = scraped(db, tally)

    assert value(series, "cleanups_total", followed="queued") == 1
    assert value(series, "cleanups_total", followed="failed") == 1
    assert value(series, "failures_total") == 1
    assert value(series, "attempts_total", outcome="orphaned") == 1
    assert value(series, "attempts_total", outcome="timeout") == 1


def test_no_counter_falls_when_files_are_requeued_deleted_and_forgotten(db: Database) -> None:
    boot, tally = node(db), metrics.Tally()
    scraped(db, tally)
    add_files(db, *(f"{n}.csv" for n in range(6)))
    ended = []
    for n in range(6):
        held = claimed(db, boot)
        claims.complete(db, id=held[0], token=held[1]) if n % 2 else fail(db, *held)
        ended.append(held[0])
    before = counters(scraped(db, tally))

    queue.requeue(db, ended[:2], actor="ann")
    after = [counters(scraped(db, tally))]
    ask(db, f"UPDATE {db.settings.files} SET deleted = true WHERE id = %s", ended[2])
    ask(db, f"DELETE FROM {db.settings.files} WHERE id = %s", ended[3])
    ask(db, f"DELETE FROM {db.names['events']}")
    after.append(counters(scraped(db, tally)))

    for now in after:
        assert {key: now[key] for key in before if now[key] < before[key]} == {}
    assert value(after[0], "completions_total") == 3


def test_a_completion_that_commits_late_is_counted_and_only_once(db: Database) -> None:
    boot, other, tally = node(db), node(db, "node-b"), metrics.Tally()
    add_files(db, "slow.csv", "quick.csv")
    scraped(db, tally)
    slow, quick = claimed(db, boot), claimed(db, other)

    with claims.completing(db, id=slow[0], token=slow[1]) as transaction:
        transaction.execute("SELECT 1")
        # Its time is set by now, but nobody sees it; what ends meanwhile must not move the mark past it.
        claims.complete(db, id=quick[0], token=quick[1])
        assert value(scraped(db, tally), "completions_total") == 1
        assert value(scraped(db, tally), "completions_total") == 1

    assert value(scraped(db, tally), "completions_total") == 2
    assert value(scraped(db, tally), "completions_total") == 2
    assert value(scraped(db, tally), "claims_total") == 2


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.05, "0.1"), (0.1, "0.1"), (0.100001, "0.5"), (60, "60.0"), (14400, "14400.0"), (1e6, "+Inf")],
)
def test_a_duration_lies_in_the_bucket_whose_bound_it_does_not_exceed(
    db: Database, seconds: float, bucket: str
) -> None:
    tally = metrics.Tally()
    scraped(db, tally)
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, processing_queued_at, "
        "processing_started_at, processing_completed_at) SELECT 'a', 'completed', at - 2 * ran, at - ran, at "
        "FROM (SELECT clock_timestamp() AS at, %s * interval '1 s' AS ran) AS times",
        seconds,
    )

    series = scraped(db, tally)

    for name, labels in (("run_seconds", {"ended": "well"}), ("wait_seconds", {})):
        bounds = [*map(str, metrics.BOUNDS), "+Inf"]
        counts = [value(series, f"{name}_bucket", le=bound, **labels) for bound in bounds]
        assert counts == [float(place >= bounds.index(bucket)) for place in range(len(bounds))]
        assert value(series, f"{name}_count", **labels) == 1
        assert value(series, f"{name}_sum", **labels) == pytest.approx(seconds, abs=1e-5)


def test_an_older_processors_failure_counts_and_a_length_unknown_is_in_no_histogram(db: Database) -> None:
    tally = metrics.Tally()
    scraped(db, tally)
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, processing_completed_at, "
        "processing_errors) VALUES ('a', 'failed', clock_timestamp(), 'bad')",
    )

    series = scraped(db, tally)

    assert value(series, "failures_total") == value(series, "attempts_total", outcome="failed") == 1
    assert value(series, "run_seconds_count", ended="badly") == 0


def test_plain_timestamps_and_ids_of_any_kind_are_counted_too(settings: Settings) -> None:
    with Database(settings) as db:
        ask(
            db,
            f"CREATE TABLE {settings.files} (id text PRIMARY KEY DEFAULT gen_random_uuid()::text, "
            "processing_started_at timestamp, processing_completed_at timestamp, processing_queued_at timestamp)",
        )
        migration.migrate(db)
        boot, tally = node(db), metrics.Tally()
        add_files(db, "a.csv", "b.csv")
        scraped(db, tally)

        claims.complete(db, id=(held := claimed(db, boot))[0], token=held[1])
        fail(db, *claimed(db, boot))

        series = scraped(db, tally)
        assert value(series, "completions_total") == value(series, "failures_total") == 1
        assert value(series, "attempts_total", outcome="failed") == 0


def test_a_scrape_reads_what_has_ended_since_and_nothing_else(db: Database) -> None:
    ask(
        db,
        f"INSERT INTO {db.settings.files} (original_filename, processing_status, processing_started_at, "
        "processing_completed_at) SELECT 'f', 'completed', now() - n * interval '1 min', now() - n * interval '1 min' "
        "FROM generate_series(5, 30000) AS n",
    )
    ask(
        db,
        f"INSERT INTO {db.names['events']} (kind, outcome, at) "
        "SELECT 'attempt', 'raised', now() - n * interval '1 min' FROM generate_series(5, 30000) AS n",
    )
    ask(db, f"ANALYZE {db.settings.files}, {db.names['events']}")
    (since,) = ask(db, "SELECT (now() - interval '10 min')::text AS at")

    with db.connection() as connection:
        statement = queries.statement("counted").compose(db.names).as_bytes()
        values = {"since": since["at"], "bounds": "{1}"}
        (answer,) = connection.execute(b"EXPLAIN (ANALYZE, FORMAT json, TIMING off) " + statement, values).fetchall()

    (plan,) = answer["QUERY PLAN"]
    read = rows_read(plan["Plan"])
    assert read["files"] + read["events"] < 100, json.dumps(plan)
    assert read["scanned"] == 0


def rows_read(plan: dict[str, Any]) -> dict[str, int]:
    """How many rows a plan read from each table, and how many of its scans went over a whole one."""
    read = {"files": 0, "events": 0, "scanned": 0}
    for part in plan.get("Plans", []):
        for name, number in rows_read(part).items():
            read[name] += number
    relation = plan.get("Relation Name", "")
    for name in ("files", "events"):
        if relation.endswith(name):
            read[name] += plan["Actual Rows"] * plan["Actual Loops"] + plan.get("Rows Removed by Filter", 0)
            read["scanned"] += plan["Node Type"] == "Seq Scan"
    return read


def test_a_scrape_that_found_no_database_is_made_up_for(db: Database) -> None:
    boot, tally = node(db), metrics.Tally()
    add_files(db, "a.csv")
    scraped(db, tally)
    nowhere = Database(dataclasses.replace(db.settings, database_url="postgresql://nobody@127.0.0.1:9/none"))
    claims.complete(db, id=(held := claimed(db, boot))[0], token=held[1])

    with nowhere, pytest.raises(Exception, match="cannot be reached"):
        tally.read(nowhere)

    assert value(scraped(db, tally), "completions_total") == 1
