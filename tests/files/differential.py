"""The readers' differential suite for as long as one likes: CASES files drawn at random, in some processes.

    python -m tests.files.differential --cases 200000 --processes 2 --seed 1     (make differential CASES=200000 SEED=1)

A round is a thousand files, drawn from the seed and the round's number: `--round 17` draws one of them again. A
difference is printed with its round and the file's bytes, and the run goes on; exit 1 if there was any. What was
reached is written down after each round, so that a run may be ended at any time; `--minutes` ends it, and `--first`
goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.files.comparing import Differ
from tests.files.drawing import FORMATS, Draw
from tests.support import servers

ROUND = 1_000  # files
_MEMORY = "/dev/shm"


@dataclass
class Round:
    """One round's files.

    Attributes:
        number: Its number.
        formats: For each format how many files were loaded, rejected and read otherwise.
        cpu_seconds: Of its process, the server's not counted.
        told: Each difference: the file and what is wrong.
    """

    number: int
    formats: dict[str, Counter[str]] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    told: list[str] = field(default_factory=list)


def run(url: str, seed: int, number: int) -> Round:
    """Draw and compare the files of a round, in a database of its own."""
    done, began = Round(number), time.process_time()
    server = servers.Server(url)
    database = server.create_database()
    folder = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            for what, draw_one in FORMATS.items():
                draw = Draw(f"{seed}/{number}/{what}")
                done.formats[what] = compared(draw, database, Path(place), what, draw_one, done)
    finally:
        server.drop_database(database)
        server.close()
    done.cpu_seconds = time.process_time() - began
    return done


def compared(draw: Draw, database: str, folder: Path, what: str, draw_one: Any, done: Round) -> Counter[str]:
    """A format's files of a round: how many were loaded, rejected, and read otherwise."""
    with psycopg.connect(database, autocommit=True, row_factory=dict_row) as connection:
        differ = Differ(connection, folder)
        for _ in range(ROUND // len(FORMATS)):
            try:
                draw_one(draw, differ)
            except Exception:
                differ.tally["read otherwise"] += 1
                files = {path.name: path.read_bytes() for path in folder.iterdir()}
                done.told.append(f"round {done.number}, {what}: {files}\n{traceback.format_exc(limit=-3)}")
        differ.duckdb.close()
        return differ.tally


def main() -> int:
    """Run, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2_000, help="how many files, over all formats")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--round", type=int, help="this round alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no round after so long")
    parser.add_argument("--figures", type=Path, help="where the figures go as JSON, beside the screen")
    given = parser.parse_args()
    if given.round is not None:
        given.first, given.cases = given.round, ROUND
    numbers = iter(range(given.first, given.first + -(-given.cases // ROUND)))
    reached: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%d", time.gmtime()), "asked": given.cases, "seed": given.seed, "cases": 0,
        "differences": 0, "seconds": 0, "cpu_seconds": 0.0, "formats": {}, "rounds": [],
    }  # fmt: skip
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with servers.running_server() as server, ProcessPoolExecutor(given.processes, context) as pool:
        running: set[Future[Round]] = set()
        while True:
            while len(running) < given.processes and time.monotonic() - began < given.minutes * 60:
                if (number := next(numbers, None)) is None:
                    break
                running.add(pool.submit(run, server.url, given.seed, number))
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                add(reached, future.result())
            reached["seconds"] = round(time.monotonic() - began)
            print(f"{reached['cases']:,} of {given.cases:,} files, {reached['seconds']} s, "
                  f"{reached['differences']} read otherwise", flush=True)  # fmt: skip
            if given.figures:
                given.figures.write_text(json.dumps(reached, indent=1) + "\n")
    print(json.dumps(reached))
    return 1 if reached["differences"] else 0


def add(reached: dict[str, Any], done: Round) -> None:
    """Count a round's files, and print what differs."""
    for text in done.told:
        print(text, flush=True)
    for what, tally in done.formats.items():
        reached["formats"][what] = dict(Counter(reached["formats"].get(what, {})) + tally)
        reached["cases"] += tally["loaded"] + tally["rejected"]
    reached["differences"] += len(done.told)
    reached["cpu_seconds"] = round(reached["cpu_seconds"] + done.cpu_seconds, 1)
    reached["rounds"] = sorted([*reached["rounds"], done.number])


if __name__ == "__main__":
    sys.exit(main())
