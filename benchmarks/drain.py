"""Drain a queue: the hand-written floor and opskit's nodes, 1 and 4 at once, in interleaved rounds."""

from __future__ import annotations

import argparse

from bench import database, rounds, tell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=10_000)
    given = parser.parse_args()
    cases = [("floor", 1), ("opskit", 1), ("floor", 4), ("opskit", 4)]
    with database() as db:
        rounds(db, cases, times=1, files=given.files // 5)
        found = rounds(db, cases, times=given.rounds, files=given.files)
    goals = {1: 0.85, 4: 0.9}
    tell(
        "drain",
        [
            {
                "what": what,
                "workers": workers,
                "files a second": round(rate),
                "of the floor": round(rate / found["floor", workers], 3),
                "goal": goals[workers] if what == "opskit" else None,
            }
            for (what, workers), rate in found.items()
        ],
    )


if __name__ == "__main__":
    main()
