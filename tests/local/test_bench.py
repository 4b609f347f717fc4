"""`opskit bench`: figures that hang together, sentences that fit them, and nothing left behind."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from opskit.database import Database
from opskit.errors import SettingError
from opskit.local.bench import _fed, _limits, bench
from tests.support.nodes import add_files, ask
from tests.support.tables import opskit

PARTS = {"round_trip_ms": 0.1, "commit_ms": 0.6, "server_ms": 0.3, "claim_ms": {"p50": 1.0, "p99": 3.0}}


def rates(*pairs: tuple[int, int], idle: float = 0.5) -> list[dict[str, Any]]:
    return [{"nodes": count, "files_per_second": rate, "this_machine_idle": idle} for count, rate in pairs]


@pytest.mark.slow
def test_a_database_is_measured_and_nothing_is_left_behind(db: Database) -> None:
    (bystander,) = add_files(db, "not part of it")

    done = opskit(db.settings, "bench", "--seconds", "4", "--nodes", "2", "--file-ms", "100", "--json")

    answer = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert 0 < answer["round_trip_ms"] < answer["claim_ms"]["p50"] <= answer["claim_ms"]["p99"]
    assert [one["nodes"] for one in answer["rates"]] == [1, 2]
    assert all(one["files_per_second"] > 0 for one in answer["rates"])
    assert [one["file_ms"] for one in answer["feeds"]] == [100.0]
    assert len(answer["limits"]) == 2
    assert answer["synchronous"] == "off: a crash may lose the last commits"  # as the tests' server is
    assert ask(db, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'opskit%%' AND %s", True) == []
    assert db.one("file", id=bystander)["processing_status"] == "queued"


def test_as_many_nodes_are_fed_as_there_are_claims_in_the_time_of_one_file() -> None:
    assert _fed(2000, 999.5, 0.5) == 2000
    assert _fed(2000, 9.5, 0.5) == 20
    assert _fed(2000, 0, 0.5) == 1


@pytest.mark.parametrize(
    ("part", "says"), [("round_trip_ms", "network"), ("commit_ms", "disk and 2 (b, c)"), ("server_ms", "server's work")]
)
def test_what_one_node_waits_for_most_is_named(part: str, says: str) -> None:
    parts = {**PARTS, "commit_ms": 0.1, "server_ms": 0.2, part: 0.7}

    assert says in _limits(parts, rates((1, 900)), "this server's disk and 2 (b, c)")[0]


def test_what_stops_more_nodes_is_named() -> None:
    assert "did not reach" in _limits(PARTS, rates((1, 900), (2, 1700)), "")[1]
    assert "the server is at its end" in _limits(PARTS, rates((1, 900), (2, 950)), "")[1]
    assert "this machine" in _limits(PARTS, rates((1, 900), (2, 950), idle=0.02), "")[1]


@pytest.mark.parametrize(("given", "names"), [({"nodes": 0}, "--nodes"), ({"seconds": 300}, "--seconds"),
                                              ({"file_ms": -1}, "--file-ms"), ({"file_ms": math.nan}, "--file-ms"),
                                              ({"seconds": math.inf}, "--seconds")])  # fmt: skip
def test_numbers_out_of_range_are_refused(db: Database, given: dict[str, Any], names: str) -> None:
    with pytest.raises(SettingError, match=names):
        bench(db.settings, **given)
