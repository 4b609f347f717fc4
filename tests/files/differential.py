"""The readers' differential suite for as long as one likes: CASES generated files, in some processes.

    python -m tests.files.differential --cases 200000 --processes 2 --seed 1     (make differential CASES=200000 SEED=1)

Each round of a process has a seed of its own, made from the one that is given. A difference is printed with its seed
and the smallest file that shows it, and the run goes on; exit 1 if there was any. What was reached is written down
after each round, so that a run may be ended at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROUND = 2_000  # files: a round starts a server, which takes some seconds
TALLY = "OPSKIT_DIFFERENTIAL_TALLY"
_SHOWN = 6_000


@dataclass
class Reached:
    """What a run has tried so far."""

    asked: int
    seed: int
    processes: int
    cases: int = 0
    seconds: float = 0.0
    formats: dict[str, dict[str, int]] = field(default_factory=dict)
    rounds_with_differences: list[dict[str, Any]] = field(default_factory=list)

    def add(self, tallies: list[dict[str, Any]]) -> None:
        """Count the files of a round."""
        for tally in tallies:
            counts = Counter(self.formats.get(tally["what"], {})) + Counter(tally["counts"])
            self.formats[tally["what"]] = dict(counts)
            self.cases += sum(tally["counts"].values())


def run(seed: int, files: int, folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """One round in a process of its own: its seed, its tallies, and what pytest says if something differs."""
    tally = folder / f"{seed}.jsonl"
    environment = {**os.environ, "OPSKIT_DIFFERENTIAL_FILES": str(files), TALLY: str(tally)}
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "slow", f"--hypothesis-seed={seed}",
        "tests/files/test_differential.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    tallies = [json.loads(line) for line in tally.read_text().splitlines()] if tally.exists() else []
    return seed, tallies, "" if done.returncode == 0 else (done.stdout + done.stderr)[-_SHOWN:]


def main() -> int:
    """Run, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2_000, help="how many files, over all formats")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figures", type=Path, help="where the figures go as JSON, beside the screen")
    given = parser.parse_args()
    reached = Reached(asked=given.cases, seed=given.seed, processes=given.processes)
    began = time.monotonic()
    rounds = range(-(-given.cases // ROUND))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.processes) as pool:
        size = min(ROUND, given.cases)
        futures = [pool.submit(run, given.seed * 100_000 + number, size, Path(folder)) for number in rounds]
        for future in as_completed(futures):
            seed, tallies, said = future.result()
            reached.add(tallies)
            reached.seconds = round(time.monotonic() - began)
            if said:
                reached.rounds_with_differences.append({"seed": seed, "files": size})
                print(said, flush=True)
            differ = len(reached.rounds_with_differences)
            told = f"{reached.cases:,} of {given.cases:,} files, {reached.seconds:.0f} s"
            print(f"{told}, seed {seed}: {differ} rounds with differences", flush=True)
            if given.figures:
                given.figures.write_text(
                    json.dumps({"at": time.strftime("%Y-%m-%d", time.gmtime()), **vars(reached)}, indent=1) + "\n"
                )
    print(json.dumps(vars(reached)))
    return 1 if reached.rounds_with_differences else 0


if __name__ == "__main__":
    sys.exit(main())
