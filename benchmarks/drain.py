"""Drain a queue: the hand-written floor, opskit's nodes and the peers, in interleaved rounds on one PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import IO, Any

import floor
import peers
from bench import RATE, Finding, Size, alone, another, ask, drain, empty, median_of, one, opened, settle, until

from opskit.database import Database

Case = tuple[str, int]
OF_THE_FLOOR = {1: 0.85, 4: 0.9}
OF_A_PEER = {"PgQueuer": 4, "procrastinate": 7, "Oban": 5}


def measure(db: Database, size: Size) -> Finding:
    """Files per second of 1 and 4 workers of each kind, and of 16 nodes."""
    finding = Finding()
    with tempfile.TemporaryFile("w+") as log:
        rates = median_of(size.rounds, dict(cases(db, size, log)))
        log.seek(0)
        said = log.read()
    for (what, workers), rate in rates.items():
        finding.table.append(
            {
                "what": what if what in ("floor", "opskit") else f"{what} {peers.version(what)}",
                "workers": workers,
                "files a second": round(rate),
                "of the floor": round(rate / rates["floor", workers], 3) if workers < 16 else None,
            }
        )
    for workers, share in OF_THE_FLOOR.items():
        mine = rates["opskit", workers]
        finding.goal(
            f"drain, {workers} node{'s' * (workers > 1)}", f"≥ {share} × the floor", f"{mine:,.0f} files/s",
            mine >= share * rates["floor", workers], mine / rates["floor", workers],
        )  # fmt: skip
        for peer, times in OF_A_PEER.items():
            if (peer, workers) in rates:
                ratio = mine / rates[peer, workers]
                finding.goal(
                    f"drain, {workers} beside {peer}", f"≥ {times} × {peer}",
                    f"{mine:,.0f} : {rates[peer, workers]:,.0f} files/s", ratio >= times, ratio,
                )  # fmt: skip
    many, few = rates["opskit", 16], rates["opskit", 4]
    finding.goal("drain, 16 nodes", "≥ that of 4", f"{many:,.0f} : {few:,.0f} files/s", many >= few, many / few)
    deadlocks = one(db, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    failures = said.count("could not serialize") + said.count("deadlock detected")
    finding.goal(
        "16 nodes: trouble", "none", f"{deadlocks} deadlocks, {failures} serialization failures",
        deadlocks == failures == 0,
    )  # fmt: skip
    return finding


def cases(db: Database, size: Size, log: IO[str]) -> list[tuple[Case, Callable[[], float]]]:
    """What is run in each round."""
    found: list[tuple[Case, Callable[[], float]]] = []
    for workers in (1, 4):
        found.append((("floor", workers), partial(drain_floor, db, workers, size.files)))
        found.append((("opskit", workers), partial(drain_opskit, db, workers, size.files)))
        for peer in peers.available():
            place = another(db, f"bench_{peer.lower()}_{workers}")
            peers.call(peer, place, "install")
            found.append(((peer, workers), partial(drain_peer, peer, place, workers, size.jobs)))
    found.append((("opskit", 16), partial(drain_opskit, db, 16, size.files, log=log)))
    return found


def drain_floor(db: Database, workers: int, files: int) -> float:
    floor.workers(db.settings.database_url or "", workers, files)
    return float(one(db, RATE.format(floor.ENDED)))


def drain_opskit(db: Database, workers: int, files: int, **more: Any) -> float:
    empty(db)
    return drain(db, workers, files, **more)


def drain_peer(name: str, url: str, workers: int, jobs: int) -> float:
    with opened(url) as place:
        ask(place, f"TRUNCATE {peers.TABLES[name]} CASCADE")
        with peers.working(name, url, workers):
            settle(place)
            peers.call(name, url, "fill", jobs)
            until(lambda: one(place, peers.QUEUED[name]) == 0, every=0.25)
        return float(one(place, RATE.format(peers.ENDED[name])))


if __name__ == "__main__":
    alone("drain", measure, __doc__)
