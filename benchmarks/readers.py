"""load_table format by format, beside what the ecosystem offers: seconds until committed, peak memory, equal rows.

opskit is a real node: its seconds are those of the row. Each peer runs in a process of its own, as its documentation
says, the table made before. What was loaded is compared by a checksum over all rows.

    python benchmarks/readers.py --rows 1000000 --excel-rows 100000

It takes about five minutes on two cores. Ratios with a goal are medians of interleaved rounds. Peers that are not
installed are left out and named; all are in .[dev] but ADBC: pip install adbc-driver-postgresql.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import xlsxwriter
from bench import ask, database, drained, empty, nodes, settle, until
from bench import write as write_figures
from loads import _psql, watch

from opskit import queue
from opskit.database import Database
from opskit.support import console

NAMES = ("number", "customer", "amount", "day", "note", "paid", "pieces", "city")
CITIES = ("Rom", "Bern", "Köln", "Łódź", "東京")
TYPED = "number bigint, customer text, amount float8, day date, note text, paid boolean, pieces bigint, city text"
TEXTS = ", ".join(f"{name} text" for name in NAMES)
BEGIN = """
import sys, time, psycopg
path, url = sys.argv[1:]
began = time.perf_counter()
"""
END = """
seconds = time.perf_counter() - began
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(seconds, int(peak) / 1024)
"""
BY_DUCKDB = """
import duckdb, os, tempfile
with tempfile.TemporaryDirectory() as folder:
    rows = os.path.join(folder, "rows.csv")
    duckdb.sql(f"SET memory_limit = '500MB'")
    duckdb.sql(f"COPY (SELECT * FROM '{path}') TO '{rows}' (HEADER false)")
    with psycopg.connect(url) as connection, connection.cursor().copy("COPY peer FROM STDIN (FORMAT csv)") as copy:
        with open(rows, "rb") as source:
            while block := source.read(1 << 18):
                copy.write(block)
"""
"""Its own extension for PostgreSQL is downloaded when it is first used: DuckDB reads, COPY writes."""
PEERS: dict[str, dict[str, tuple[tuple[str, ...], str, str]]] = {
    "csv": {"DuckDB and COPY": (("duckdb",), TEXTS, BY_DUCKDB)},
    "parquet": {
        "pgpq": (("pgpq",), TYPED, """
import pyarrow.parquet as pq, pgpq
source = pq.ParquetFile(path)
encoder = pgpq.ArrowToPostgresBinaryEncoder(source.schema_arrow)
with psycopg.connect(url) as connection, connection.cursor().copy("COPY peer FROM STDIN (FORMAT binary)") as copy:
    copy.write(encoder.write_header())
    for batch in source.iter_batches():
        copy.write(encoder.write_batch(batch))
    copy.write(encoder.finish())
"""),
        "DuckDB and COPY": (("duckdb",), TYPED, BY_DUCKDB),
        "ADBC": (("adbc_driver_postgresql",), TYPED, """
import pyarrow.parquet as pq, adbc_driver_postgresql.dbapi as dbapi
with dbapi.connect(url) as connection, connection.cursor() as cursor:
    cursor.adbc_ingest("peer", pq.ParquetFile(path).iter_batches(), mode="append")
    connection.commit()
"""),
        "pandas.to_sql": (("pandas", "sqlalchemy"), TYPED, """
import pandas, sqlalchemy
engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
pandas.read_parquet(path).to_sql("peer", engine, if_exists="append", index=False, chunksize=10_000)
"""),
    },
    "jsonl": {
        "DuckDB and COPY": (("duckdb",), TEXTS, BY_DUCKDB),
        "json and COPY": ((), TEXTS, """
import json
with psycopg.connect(url) as connection, connection.cursor().copy("COPY peer FROM STDIN") as copy, open(path) as lines:
    for line in lines:
        copy.write_row(list(json.loads(line).values()))
"""),
    },
    "xlsx": {
        "calamine alone, not loaded": (("python_calamine",), TEXTS, """
import python_calamine
python_calamine.load_workbook(path).get_sheet_by_index(0).to_python()
"""),
        "calamine and COPY": (("python_calamine",), TEXTS, """
import python_calamine
_, *rows = python_calamine.load_workbook(path).get_sheet_by_index(0).to_python()
with psycopg.connect(url) as connection, connection.cursor().copy("COPY peer FROM STDIN") as copy:
    for row in rows:
        copy.write_row([str(cell) for cell in row])
"""),
    },
}  # fmt: skip
"""For each format its peers: what they need, the table that they fill, and what they do."""
ROW = "concat_ws('|', number::numeric::bigint, customer, note, city)"
SUM = f"SELECT count(*) AS n, sum(hashtext({ROW})::bigint) AS sum FROM {{}}"


def made(count: int) -> list[tuple[Any, ...]]:
    """Rows of eight columns: numbers, words, a date, a flag."""
    rng = random.Random(1)
    start = datetime.date(2024, 1, 1)
    return [
        (
            n, f"customer {rng.randrange(100_000)}", round(rng.random() * 1000, 2),
            start + datetime.timedelta(days=n % 900), f"note {n}, of an ordinary length", n % 2 == 0,
            rng.randrange(100), CITIES[n % 5],
        )
        for n in range(count)
    ]  # fmt: skip


def write(folder: Path, count: int, excel: int) -> dict[str, Path]:
    """The same rows in each format."""
    table = pa.Table.from_arrays([pa.array(column) for column in zip(*made(count), strict=True)], names=list(NAMES))
    paths = {kind: folder / f"rows.{kind}" for kind in ("csv", "jsonl", "parquet", "xlsx")}
    pyarrow.csv.write_csv(table, paths["csv"], pyarrow.csv.WriteOptions(quoting_style="needed"))
    pyarrow.parquet.write_table(table, paths["parquet"])
    with paths["jsonl"].open("w", encoding="utf-8") as target:
        for batch in table.to_batches(100_000):
            target.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in batch.to_pylist())
    with xlsxwriter.Workbook(paths["xlsx"], {"default_date_format": "yyyy-mm-dd"}) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([NAMES, *made(excel)]):
            sheet.write_row(number, 0, row)
    return paths


def by_opskit(db: Database, path: Path) -> dict[str, Any]:
    """Through a node."""
    empty(db)
    ask(db, "DROP TABLE IF EXISTS dev_loaded_rows")
    settle(db)
    weights: list[float] = []
    with nodes(db, act="opskit.processors:load_table") as (node,):
        ended = threading.Event()
        watcher = threading.Thread(target=watch, args=(node.pid, weights, ended))
        watcher.start()
        queue.insert(db, [(str(path), path.name, path.stat().st_size)])
        until(lambda: drained(db))
        ended.set()
        watcher.join()
    (row,) = ask(
        db,
        "SELECT processing_status AS status, processing_errors AS errors, extract(epoch FROM "
        "processing_completed_at - processing_started_at)::float8 AS seconds FROM dev_uploaded_files",
    )
    assert row["status"] == "completed", row["errors"]
    return {
        "way": "opskit",
        "seconds": row["seconds"],
        "peak": max(weights, default=0.0),
        "sum": summed(db, "dev_loaded_rows"),
    }


def by_peer(db: Database, path: Path, name: str, table: str, text: str) -> dict[str, Any]:
    """In a process of its own."""
    ask(db, "DROP TABLE IF EXISTS peer")
    ask(db, f"CREATE TABLE peer ({table})")
    settle(db)
    command = [sys.executable, "-c", BEGIN + text + END, str(path), db.settings.database_url or ""]
    seconds, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {"way": name, "seconds": float(seconds), "peak": float(peak), "sum": summed(db, "peer")}


def by_psql(db: Database, path: Path, program: str) -> dict[str, Any]:
    """psql's own COPY."""
    ask(db, "DROP TABLE IF EXISTS peer")
    ask(db, f"CREATE TABLE peer ({TEXTS})")
    settle(db)
    began = time.perf_counter()
    command = f"\\copy peer FROM '{path}' (FORMAT csv, HEADER)"
    subprocess.run([program, db.settings.database_url or "", "-q", "-c", command], check=True)
    return {"way": "psql \\copy", "seconds": time.perf_counter() - began, "peak": None, "sum": summed(db, "peer")}


def summed(db: Database, table: str) -> tuple[int, int]:
    """How many rows a table has, and their checksum."""
    (row,) = ask(db, SUM.format(table))
    return row["n"], row["sum"]


RIVALS = {"csv": ("psql \\copy", 0.9), "parquet": ("pgpq", 0.9), "xlsx": ("calamine alone, not loaded", 0.7)}
"""For each format what it is held against, and the share of its rate that is the goal."""
MOST_MEGABYTES = 150


def measure(db: Database, paths: dict[str, Path], rounds: int) -> list[dict[str, Any]]:
    """Each format through each way; the ways that are held against one another in several rounds."""
    found = []
    for kind, path in paths.items():
        ways: dict[str, Callable[[], dict[str, Any]]] = {"opskit": partial(by_opskit, db, path)}
        if kind == "csv" and (program := _psql()):
            ways["psql \\copy"] = partial(by_psql, db, path, program)
        for name, (needed, table, text) in PEERS.get(kind, {}).items():
            if lacking := [package for package in needed if not find_spec(package)]:
                print(f"{kind}: {name} is left out: {', '.join(lacking)} is not installed", flush=True)
            else:
                ways[name] = partial(by_peer, db, path, name, table, text)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                if number == 0 or name in ("opskit", RIVALS.get(kind, ("",))[0]):
                    results[name].append(way())
        mine = statistics.median(result["seconds"] for result in results["opskit"])
        rows, megabytes = results["opskit"][0]["sum"][0], path.stat().st_size / 1e6
        for name, those in results.items():
            seconds = statistics.median(result["seconds"] for result in those)
            peaks = [result["peak"] for result in those if result["peak"] is not None]
            same = all(result["sum"] == results["opskit"][0]["sum"] for result in those)
            found.append(
                {
                    "format": kind, "MB": round(megabytes, 1), "rows": rows, "way": name,
                    "seconds": round(seconds, 2), "MB/s": round(megabytes / seconds, 1),
                    "times opskit": round(seconds / mine, 2), "peak [MB]": round(max(peaks)) if peaks else None,
                    "same rows": same if those[0]["sum"][0] else None,
                }
            )  # fmt: skip
            print(found[-1], flush=True)
    return found


def goals(found: list[dict[str, Any]], looks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each goal, beside what was measured."""
    seconds = {(row["format"], row["way"]): row["seconds"] for row in found}
    rates = {row["format"]: row["MB/s"] for row in found if row["way"] == "opskit"}
    told = []

    def goal(what: str, goal: float, measured: float, *, at_most: bool = False) -> None:
        met = measured <= goal if at_most else measured >= goal
        sign = "≤" if at_most else "≥"
        told.append(
            {
                "what": what,
                "goal": f"{sign} {goal:g}",
                "measured": round(measured, 2),
                "met": "met" if met else "MISSED",
            }
        )

    for kind, (rival, share) in RIVALS.items():
        if (kind, rival) in seconds:
            goal(f"{kind}: rate beside {rival}", share, seconds[kind, rival] / seconds[kind, "opskit"])
    goal("jsonl: MB/s beside CSV's", 0.5, rates["jsonl"] / rates["csv"])
    for look in looks:
        goal(f"{look['format']}: inspect_file beside sha256sum", 0.8, look["ratio"])
    for row in found:
        if row["way"] == "opskit":
            goal(f"{row['format']}: node and child [MB]", MOST_MEGABYTES, row["peak [MB]"], at_most=True)
    same = [row["same rows"] for row in found if row["same rows"] is not None]
    goal("ways with the same rows", len(same), sum(same))
    return told


def inspected(path: Path, rounds: int) -> dict[str, Any]:
    """inspect_file beside sha256sum, by the same file read before."""
    code = BEGIN.replace("psycopg", "opskit.processors") + (
        "import opskit.files.testing as testing\n"
        "began = time.perf_counter()\n"
        "opskit.processors.inspect_file(testing.claimed(path))\n"
    ) + END  # fmt: skip
    mine, theirs = [], []
    for _ in range(rounds):
        command = [sys.executable, "-c", code, str(path), ""]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        mine.append(float(done.stdout.split()[0]))
        began = time.perf_counter()
        subprocess.run(["sha256sum", str(path)], check=True, capture_output=True)
        theirs.append(time.perf_counter() - began)
    seconds, other = statistics.median(mine), statistics.median(theirs)
    return {
        "format": path.suffix[1:], "inspect_file": round(seconds, 2), "sha256sum": round(other, 2),
        "ratio": round(other / seconds, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--excel-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database() as db:
        paths = write(Path(folder), given.rows, given.excel_rows)
        found = measure(db, paths, given.rounds)
        looks = [inspected(paths[kind], given.rounds) for kind in ("csv", "jsonl")]
    told = goals(found, looks)
    console.table(found)
    console.table(looks)
    console.table(told)
    write_figures("readers", {"goals": told, "rows": found, "inspect": looks})


if __name__ == "__main__":
    main()
