"""A lane is told where files are told: to processors, in the node's log; and overlapping lanes starve nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opskit.database import Database
from tests.queue.test_lanes import laned, queued
from tests.support.nodes import ask, counts, running_nodes, until


def test_a_log_in_json_has_the_lane_of_the_file_as_a_field(db: Database, tmp_path: Path) -> None:
    laned(db)
    (id,) = queued(db, "gpu, large", 1)
    with running_nodes(db, tmp_path) as start:
        node = start("node-a", "--drain", act="speak_evil", OPSKIT_LOG_FORMAT="json", OPSKIT_MAX_FAILURES="1")
        assert node.end(30) == 0

    records = [json.loads(line) for line in node.log.splitlines() if line.startswith("{")]
    (failed,) = [record for record in records if "now failed" in record["message"]]
    assert (failed["file"], failed["lane"]) == (id, "gpu, large")


@pytest.mark.slow
def test_nodes_whose_lanes_overlap_starve_no_lane(db: Database, tmp_path: Path) -> None:
    laned(db)
    queued(db, "a", 600)
    with running_nodes(db, tmp_path) as start:
        for name, route in (("ab", "a,b"), ("bc", "b,c"), ("ca", "c,a")):
            start(name, act="slow", ACT_SECONDS="0.1", OPSKIT_LANES=route)
        until(lambda: counts(db).get("completed", 0) >= 20, 40)
        few = [*queued(db, "b", 5), *queued(db, "c", 5)]
        until(lambda: all(db.one("file", id=id)["processing_status"] == "completed" for id in few), 40)

        # None of them waited for the many of lane a, of which most still wait.
        assert counts(db)["queued"] > 300
    waited = ask(
        db,
        f"SELECT max(processing_started_at - processing_queued_at) < interval '5 s' AS soon FROM {db.settings.files} "
        "WHERE customer IN ('b', 'c')",
    )
    assert waited == [{"soon": True}]
