"""`load_table` on real nodes: rows exactly once, although children and supervisors are killed while they load."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import time
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opskit import queue
from opskit.database import Database
from tests.support.nodes import ask, counts, running_nodes, until

ROWS = 40_000
KILLS = 12
SEED = int(os.environ.get("SEED", "7"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[tuple[str, str]]]:
    """One file of each kind, and the rows that it must become."""
    root = tmp_path / "in"
    root.mkdir()
    expected: dict[str, list[tuple[str, str]]] = {}
    for kind, count in (("csv", ROWS), ("tsv", ROWS), ("jsonl", ROWS), ("parquet", ROWS), ("xlsx", 2000)):
        rows = [
            (f"{kind}-{n}", f'quoted "{n}", ünïcode\nsecond line' if n % 100 == 0 else f"v{n}") for n in range(count)
        ]
        expected[f"{kind}_rows"] = rows
        path = root / f"{kind} rows.{kind}"
        if kind in ("csv", "tsv"):
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter="," if kind == "csv" else "\t").writerows([("key", "value"), *rows])
        elif kind == "jsonl":
            path.write_text("".join(json.dumps({"key": k, "value": v}) + "\n" for k, v in rows))
        elif kind == "parquet":
            table = pa.table({"key": [k for k, _ in rows], "value": [v for _, v in rows]})
            pq.write_table(table, path, row_group_size=1000)
        else:
            book = openpyxl.Workbook(write_only=True)
            sheet = book.create_sheet()
            for row in [("key", "value"), *rows]:
                sheet.append(row)
            book.save(path)
            book.close()
    return expected


def test_rows_are_there_exactly_once_although_children_and_nodes_are_killed_at_random_moments(
    db: Database, tmp_path: Path, files: dict[str, list[tuple[str, str]]]
) -> None:
    rng = random.Random(SEED)
    queue.enqueue(db, [tmp_path / "in"])
    # The budget is not what is tried here.
    environ = {"OPSKIT_MAX_FAILURES": "1000", "OPSKIT_LEASE_SECONDS": "1"}
    kills = 0

    with running_nodes(db, tmp_path) as start:
        nodes = [start(f"node-{n}", act="opskit.processors:load_table", **environ) for n in range(2)]
        while kills < KILLS and counts(db) != {"completed": len(files)}:
            n = rng.randrange(len(nodes))
            # Somewhere within a load: kill whoever has a file in hand.
            if not db.run("held", server_id=f"node-{n}"):
                continue
            time.sleep(rng.uniform(0, 0.1))
            if rng.random() < 0.25:
                nodes[n].kill()
                nodes[n].end()
                nodes[n] = start(f"node-{n}", act="opskit.processors:load_table", **environ)
            elif child := nodes[n].child():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            kills += 1
        until(lambda: counts(db) == {"completed": len(files)}, 30)

    assert kills >= KILLS / 2
    for name, rows in files.items():
        loaded = ask(db, f"SELECT key, value FROM dev_loaded_{name}")
        assert sorted((row["key"], row["value"]) for row in loaded) == sorted(rows), name
    ended = db.run("events", file_id="", kind="attempt", row_limit=1000)
    # A child that is killed between its claim and its first step has begun nothing: its file is released.
    begun = [event for event in ended if "claimed, not begun" not in event["reason"]]
    assert {event["outcome"] for event in begun} <= {"crashed", "orphaned"}
