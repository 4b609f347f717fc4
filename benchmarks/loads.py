"""Rows in bulk: enqueue against COPY, load_table against psql's \\copy, and what the wake-up costs a bulk insert."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from bench import Finding, Size, alone, ask, drained, empty, fill, median_of, nodes, one, settle, until
from node import children, pss

from opskit import queue
from opskit.database import Database, programs
from opskit.settings import Settings


def measure(db: Database, size: Size) -> Finding:
    """Rows a second, and MB a second."""
    finding = Finding()
    enqueue(db, size, finding)
    load(db, size, finding)
    wake(db, size, finding)
    return finding


# -- enqueue -----------------------------------------------------------------------------------------


def enqueue(db: Database, size: Size, finding: Finding) -> None:
    rows = [(f"/srv/uploads/2026/11/file-{n:06}.csv", f"file-{n:06}.csv", n) for n in range(size.rows)]
    text = "".join(f"{path}\t{name}\t{bytes}\tqueued\n" for path, name, bytes in rows).encode()
    command = b"COPY dev_uploaded_files (storage_path, original_filename, file_size, processing_status) FROM STDIN"

    def by_copy() -> float:
        empty(db)
        settle(db)
        began = time.perf_counter()
        source = io.BytesIO(text)
        with db.connection() as connection, connection.cursor().copy(command) as copy:
            while block := source.read(65536):
                copy.write(block)
        return size.rows / (time.perf_counter() - began)

    def by_enqueue() -> float:
        empty(db)
        settle(db)
        began = time.perf_counter()
        queue.insert(db, rows)
        return size.rows / (time.perf_counter() - began)

    rates = median_of(max(3, size.rounds), {"copy": by_copy, "enqueue": by_enqueue})
    mine, plain = rates["enqueue"], rates["copy"]
    finding.table.append({"enqueue": f"{size.rows:,} rows", "rows/s": round(mine), "plain COPY": round(plain)})
    finding.goal(
        f"enqueue {size.rows:,} rows", "≥ 0.8 × plain COPY", f"{mine:,.0f} : {plain:,.0f} rows/s", mine >= 0.8 * plain,
        mine / plain,
    )  # fmt: skip


# -- load_table --------------------------------------------------------------------------------------


def load(db: Database, size: Size, finding: Finding) -> None:
    """A CSV file of numbers and words through a node, its memory watched, and through psql."""
    program = _psql()
    if program is None:
        finding.table.append({"load_table": "no psql on this machine"})
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        path = Path(folder) / "sales.csv"
        write_csv(path, size.megabytes)
        weights: list[float] = []

        def by_node() -> float:
            empty(db)
            ask(db, "DROP TABLE IF EXISTS dev_loaded_sales")
            settle(db)
            with nodes(db, act="opskit.processors:load_table", OPSKIT_HARD_LIMIT_SECONDS="3600") as (node,):
                ended = threading.Event()
                watcher = threading.Thread(target=watch, args=(node.pid, weights, ended))
                watcher.start()
                queue.insert(db, [(str(path), path.name, path.stat().st_size)])
                until(lambda: drained(db))
                ended.set()
                watcher.join()
            row = ask(
                db,
                "SELECT processing_status AS status, processing_errors AS errors, extract(epoch FROM "
                "processing_completed_at - processing_started_at)::float8 AS seconds FROM dev_uploaded_files",
            )[0]
            assert row["status"] == "completed", row["errors"]
            return size.megabytes / float(row["seconds"])

        def by_psql() -> float:
            ask(db, "DROP TABLE IF EXISTS by_psql")
            names = path.open().readline().strip().split(",")
            ask(db, f"CREATE TABLE by_psql ({', '.join(f'{name} text' for name in names)})")
            settle(db)
            began = time.perf_counter()
            command = f"\\copy by_psql FROM '{path}' (FORMAT csv, HEADER)"
            subprocess.run([program, db.settings.database_url or "", "-q", "-c", command], check=True)
            return size.megabytes / (time.perf_counter() - began)

        rates = median_of(1 if size.megabytes > 500 else 3, {"psql": by_psql, "node": by_node}, warm=False)
    ask(db, "DROP TABLE IF EXISTS by_psql, dev_loaded_sales")
    mine, plain, most = rates["node"], rates["psql"], max(weights, default=0.0)
    finding.table.append(
        {"load_table": f"{size.megabytes:,} MB", "MB/s": round(mine, 1), "psql \\copy": round(plain, 1),
         "most memory [MB PSS]": round(most)}
    )  # fmt: skip
    finding.goal(
        f"load_table, {size.megabytes:,} MB CSV", "≥ 0.8 × psql \\copy", f"{mine:.0f} : {plain:.0f} MB/s",
        mine >= 0.8 * plain, mine / plain,
    )  # fmt: skip
    finding.goal("load_table: memory", "flat", f"at most {most:.0f} MB, both processes", 0 < most < 100)


def write_csv(path: Path, megabytes: int) -> None:
    """So many MB of an ordinary table: numbers, dates, words, a quoted field now and then."""
    numbers = random.Random(1)
    lines = [
        f"{n},2026-11-{n % 28 + 1:02},{numbers.random() * 1000:.2f},customer {numbers.randrange(10**6)},"
        + (f'"note, with a ""quote"" {n}"' if n % 10 == 0 else f"note {n}")
        for n in range(20_000)
    ]
    block = ("\n".join(lines) + "\n").encode()
    with path.open("wb") as file:
        file.write(b"number,day,amount,customer,note\n")
        while file.tell() < megabytes * 1_000_000:
            file.write(block)


def watch(pid: int, weights: list[float], ended: threading.Event) -> None:
    """What a node weighs, four times a second."""
    while not ended.wait(0.25):
        try:
            weights.append(pss(pid) + sum(pss(child) for child in children(pid)))
        except OSError:
            continue  # a child between two looks


def _psql() -> str | None:
    folder = programs.find_binaries(Settings.load({}))
    return shutil.which("psql", path=str(folder)) or shutil.which("psql")


# -- the wake-up -------------------------------------------------------------------------------------


def wake(db: Database, size: Size, finding: Finding) -> None:
    """What the trigger costs a bulk insert, and whether sixteen idle nodes storm the queue at every single insert."""

    def bulk(on: bool) -> float:
        empty(db)
        ask(db, f"ALTER TABLE dev_uploaded_files {'ENABLE' if on else 'DISABLE'} TRIGGER {db.names['wake']}")
        settle(db)
        began = time.perf_counter()
        fill(db, size.rows)
        return size.rows / (time.perf_counter() - began)

    rates = median_of(max(3, size.rounds), {on: partial(bulk, on) for on in (False, True)})
    ask(db, f"ALTER TABLE dev_uploaded_files ENABLE TRIGGER {db.names['wake']}")
    finding.goal(
        f"wake-up: bulk insert of {size.rows:,} rows", "costs nothing measurable (< 5 %)",
        f"{rates[True]:,.0f} : {rates[False]:,.0f} rows/s", rates[True] >= 0.95 * rates[False],
        rates[True] / rates[False],
    )  # fmt: skip
    empty(db)
    inserts = 1000
    with nodes(db, 16):
        before, began = _claims(db), time.monotonic()
        for _ in range(inserts):
            fill(db, 1)
        until(lambda: drained(db))
        took, after = time.monotonic() - began, _claims(db)
    vain = (after - before - inserts) / inserts
    finding.table.append(
        {"single inserts": inserts, "a second": round(inserts / took), "vain looks a file": round(vain, 1)}
    )
    finding.goal(
        f"wake-up: {inserts:,} single inserts, 16 idle nodes", "no herd: ≤ 4 of 16 look in vain",
        f"{vain:.1f} a file", vain <= 4,
    )  # fmt: skip


def _claims(db: Database) -> int:
    """How often nodes have asked for a file: each claim reads the registry once (a heartbeat each two seconds as well).

    Commits would not do: each notification costs each listener one, though it asks nothing.
    """
    time.sleep(11)  # an idle session hands in its counts after ten seconds
    return int(
        one(
            db,
            "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'dev_processing_nodes'",
        )
    )


if __name__ == "__main__":
    alone("loads", measure, __doc__)
