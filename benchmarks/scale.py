"""Ten million rows: what every query of page and API costs there, with its plan.

    python scale.py --rows 10000000 --keep /var/tmp/large

The table is made first (some minutes); with --keep it stays, and the next run measures at once. Each statement is run
four times as a reader runs it; *first* is the first run of this server process, *ms* the median of the others. The plan
is from EXPLAIN (ANALYZE, BUFFERS), buffers are pages of 8 kB. All of it is written to results/scale-ROWS.json.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench import write
from scale_table import table

from opskit import doctor, migration
from opskit.database import Database
from opskit.database.text_values import as_text
from opskit.stats.list_rows import SEARCH_ROWS
from opskit.support import console

FILES = {
    "status": "",
    "server_id": "",
    "search": "",
    "ids": [],
    "search_rows": SEARCH_ROWS,
    "before_at": "",
    "before_id": "",
    "row_limit": 201,
}
EVENTS = {"file_id": "", "kind": "", "row_limit": 1000}
RARE, NONE = "upload-node-07", "no-such-server"

QUERIES: list[tuple[str, str, str, dict[str, object]]] = [
    ("overview, API, metrics", "numbers of the moment", "live", {"stale_after_seconds": 3600}),
    ("overview, API", "live files per server", "live_distribution", {}),
    ("kept for a minute", "what has ended, per server", "ended", {}),
    ("overview, nodes", "nodes", "nodes", {}),
    ("overview", "pauses", "pauses", {}),
    ("overview, API", "longest running", "longest_running", {"row_limit": 10}),
    ("overview", "forecast", "forecast", {}),
    ("overview", "ended in each hour of a day", "throughput", {"since_seconds": 86400, "bucket_seconds": 3600}),
    ("metrics", "ended in the last 15 s", "counted", {"since": "now", "bounds": [0.1, 1, 10, 60]}),
    ("files", "the newest", "files_list", FILES),
    *(
        ("files", f"the newest {status}", "files_list", FILES | {"status": status})
        for status in ("queued", "processing", "completed", "failed", "none")
    ),
    ("files", "of one server", "files_list", FILES | {"server_id": RARE}),
    ("files", "of a server that has none", "files_list", FILES | {"server_id": NONE}),
    ("files", "failed, of a server that has none", "files_list", FILES | {"server_id": NONE, "status": "failed"}),
    ("files", "name contains, often", "files_list", FILES | {"search": "invoice"}),
    ("files", "name contains, nowhere", "files_list", FILES | {"search": "no such name"}),
    ("files", "id of an old file", "files_list", FILES | {"search": "4711", "ids": ["4711"]}),
    ("files", "one file", "file", {"id": 50}),
    ("files", "its history", "events", EVENTS | {"file_id": "50"}),
    ("kept for a minute", "failures by error", "failures", {"row_limit": 100}),
    ("failures", "files of the largest group", "failed_files", {"error": "", "since_seconds": "", "row_limit": 200}),
    ("failures", "files of a group, last hour", "failed_files", {"error": "", "since_seconds": 3600, "row_limit": 200}),
    ("failures", "files of no group", "failed_files", {"error": "none", "since_seconds": "", "row_limit": 200}),
    ("cleanup", "claims and verdicts", "stale", {"stale_after_seconds": 3600, "look_seconds": 2, "every": True}),
    ("cleanup", "evidence", "evidence", {}),
    ("timeline", "an hour", "timeline", {"since_seconds": 3600, "until_seconds": 0, "row_limit": 2000}),
    ("timeline", "a day", "timeline", {"since_seconds": 86400, "until_seconds": 0, "row_limit": 2000}),
    ("timeline", "an hour a month ago", "timeline",
     {"since_seconds": 30 * 86400, "until_seconds": 30 * 86400 - 3600, "row_limit": 2000}),
    ("history", "the newest", "events", EVENTS),
    ("history", "attempts", "events", EVENTS | {"kind": "attempt"}),
    ("history", "pauses, among many attempts", "events", EVENTS | {"kind": "pause"}),
    ("history", "a kind that there is none of", "events", EVENTS | {"kind": "adopt"}),
    ("shell, psql", "everything at once", "concurrency", {"stale_after_seconds": 3600}),
    ("shell, psql", "distribution", "distribution", {}),
    ("shell, psql", "one server's counts", "server_counts", {"server_id": RARE}),
    ("opskit up", "what is pending", "pending", {}),
]  # fmt: skip


def measure(db: Database) -> Iterator[dict[str, Any]]:
    """One line for each query."""
    group = db.run("failures", of_lane="", row_limit=1)[0]["error"]
    for page, what, name, given in QUERIES:
        values = {key: group if key == "error" and not value else value for key, value in given.items()}
        times = []
        for _ in range(4):
            began = time.perf_counter()
            rows = db.run(name, **values)
            times.append((time.perf_counter() - began) * 1000)
        plan, buffers = explained(db, name, values)
        yield {
            "page": page,
            "what": what,
            "sql": name,
            "rows": len(rows),
            "first [ms]": round(times[0], 1),
            "ms": round(statistics.median(times[1:]), 1),
            "buffers": buffers,
            "values": {key: value for key, value in values.items() if value not in ("", [])},
            "plan": plan,
        }
    began = time.perf_counter()
    found = doctor.examine(db, missing=migration.missing(db), queues_new=migration.queues_new(db))
    took = round((time.perf_counter() - began) * 1000, 1)
    yield {
        "page": "doctor",
        "what": "everything",
        "sql": "doctor/*",
        "rows": len(found),
        "first [ms]": took,
        "ms": took,
    }


def explained(db: Database, name: str, values: dict[str, object]) -> tuple[list[str], int]:
    """The plan as text, and how many pages it looked at."""
    statement, text = db._text(name)  # the very text that `run` sends
    known = {key: db.names[key] for key in statement.values & db.names.keys()}
    bound = {key: as_text(value) for key, value in (known | values).items()} or None
    with db.connection() as connection:
        lines = [
            row["QUERY PLAN"] for row in connection.execute(b"EXPLAIN (ANALYZE, BUFFERS) " + text, bound).fetchall()
        ]
    top = next((line for line in lines if line.strip().startswith("Buffers: shared")), "")
    return lines, sum(map(int, re.findall(r" (?:hit|read)=(\d+)", top.partition(", temp")[0])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keep", metavar="FOLDER", help="keep the server and its table there for the next run")
    given = parser.parse_args()
    with table(given.rows, given.keep) as db:
        rows = list(measure(db))
    console.table([{key: value for key, value in row.items() if key not in ("values", "plan")} for row in rows])
    write(f"scale-{given.rows}", {"rows": rows})


if __name__ == "__main__":
    main()
