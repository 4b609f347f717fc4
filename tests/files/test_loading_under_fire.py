"""`load_table` on real nodes: rows exactly once, although children and supervisors are killed while they load."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from opskit import queue
from opskit.database import Database
from tests.support.binary_workbooks import xlsb
from tests.support.nodes import ask, counts, running_nodes, until
from tests.support.spreadsheets import ods, xls

ROWS = 40_000
KILLS = 24
SEED = int(os.environ.get("SEED", "7"))


def as_csv(rows: list[tuple[str, str]], delimiter: str = ",") -> bytes:
    target = io.StringIO()
    csv.writer(target, delimiter=delimiter).writerows([("key", "value"), *rows])
    return target.getvalue().encode()


def as_jsonl(rows: list[tuple[str, str]]) -> bytes:
    return "".join(json.dumps({"key": k, "value": v}) + "\n" for k, v in rows).encode()


def as_late_jsonl(rows: list[tuple[str, str]]) -> bytes:
    """More than is looked through for keys, and then a key and an object that were not there before."""
    lines: list[dict[str, Any]] = [{"key": k, "value": v, "pad": "x" * 120} for k, v in rows]
    lines[-1]["late"], lines[-1]["pad"] = 1, {"now": "an object"}
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def as_parquet(rows: list[tuple[str, str]], **others: Any) -> bytes:
    target = io.BytesIO()
    table = pa.table({"key": [k for k, _ in rows], "value": [v for _, v in rows]} | others)
    pq.write_table(table, target, row_group_size=1000)
    return target.getvalue()


def as_xlsx(rows: list[tuple[str, str]]) -> bytes:
    target = io.BytesIO()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [("key", "value"), *rows]:
        sheet.append(row)
    book.save(target)
    book.close()
    return target.getvalue()


KINDS: dict[str, tuple[str, int, Callable[[list[tuple[str, str]]], bytes]]] = {
    "csv": ("csv", ROWS, as_csv),
    "tsv": ("tsv", ROWS, lambda rows: as_csv(rows, "\t")),
    "semicolons": ("csv", ROWS, lambda rows: as_csv(rows, ";")),
    "utf16": ("csv", ROWS, lambda rows: as_csv(rows).decode().encode("utf-16")),
    "csv_gz": ("csv.gz", ROWS, lambda rows: gzip.compress(as_csv(rows))),
    "csv_zst": ("csv.zst", ROWS, lambda rows: zstandard.compress(as_csv(rows))),
    "jsonl": ("jsonl", ROWS, as_jsonl),
    "jsonl_gz": ("jsonl.gz", ROWS, lambda rows: gzip.compress(as_jsonl(rows))),
    "jsonl_zst": ("jsonl.zst", ROWS, lambda rows: zstandard.compress(as_jsonl(rows))),
    "jsonl_late": ("jsonl", ROWS, as_late_jsonl),
    "jsonl_late_gz": ("jsonl.gz", ROWS, lambda rows: gzip.compress(as_late_jsonl(rows))),
    "parquet": ("parquet", ROWS, as_parquet),
    "parquet_csv": ("parquet", ROWS, lambda rows: as_parquet(rows, n=pa.nulls(len(rows), pa.decimal256(76, 0)))),
    "xlsx": ("xlsx", 2000, as_xlsx),
    "xls": ("xls", 2000, lambda rows: xls([("key", "value"), *rows])),
    "xlsb": ("xlsb", 2000, lambda rows: xlsb([("S", [("key", "value"), *rows], False)])),
    "ods": ("ods", 2000, lambda rows: ods([("key", "value"), *rows])),
}
"""For each kind its suffix, how many rows, and how they are written."""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[tuple[str, str]]]:
    """One file of each kind, and the rows that it must become."""
    root = tmp_path / "in"
    root.mkdir()
    expected: dict[str, list[tuple[str, str]]] = {}
    for kind, (suffix, count, write) in KINDS.items():
        rows = [
            (f"{kind}-{n}", f'quoted "{n}", ünïcode\nsecond line' if n % 100 == 0 else f"v{n}") for n in range(count)
        ]
        expected[f"{kind}_rows"] = rows
        (root / f"{kind} rows.{suffix}").write_bytes(write(rows))
    return expected


@pytest.mark.slow
@pytest.mark.timeout(300)
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
        until(lambda: counts(db) == {"completed": len(files)}, 60)

    assert kills >= KILLS / 2
    for name, rows in files.items():
        loaded = ask(db, f"SELECT key, value FROM dev_loaded_{name}")
        assert sorted((row["key"], row["value"]) for row in loaded) == sorted(rows), name
    ended = db.run("events", file_id="", kind="attempt", row_limit=1000)
    # A child that is killed between its claim and its first step has begun nothing: its file is released.
    begun = [event for event in ended if "claimed, not begun" not in event["reason"]]
    assert {event["outcome"] for event in begun} <= {"crashed", "orphaned"}
