"""Under a pinned xmin: a long transaction stops vacuum, and a queue that walks its dead entries slows down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import floor
import peers
import psycopg
from bench import ENDED, Finding, Size, alone, another, ask, empty, fill, nodes, one, opened, settle, until

from opskit.database import Database

TENTHS = """
    SELECT (n - 1) * 10 / {} AS tenth, count(*) / extract(epoch FROM max(ended) - min(ended)) AS rate
      FROM (SELECT ended, row_number() OVER (ORDER BY ended) AS n FROM ({}) AS f) AS numbered
     GROUP BY 1 ORDER BY 1"""
# The peers are slower, and most of them slow down: their curve shows it within so much of the floor's jobs.
OF_THE_FILES = {"floor": 1.0, "PgQueuer": 0.4, "procrastinate": 0.2, "Oban": 0.2}


def measure(db: Database, size: Size) -> Finding:
    """Files per second in each tenth, one worker, for opskit, the floor and the peers."""
    finding = Finding(axes=("files since the xmin is pinned", "files a second"))
    curves = {"opskit": of_opskit(db, size.pinned), "floor": of_the_floor(db, size.pinned)}
    for peer in peers.available():
        curves[peer] = of_a_peer(db, peer, int(size.pinned * OF_THE_FILES[peer]))
    for name, curve in curves.items():
        finding.curves[name] = curve
        finding.table.append(
            {
                "what": name,
                "files": round(curve[-1][0]),
                "first tenth": round(curve[0][1]),
                "last tenth": round(curve[-1][1]),
                "ratio": round(curve[-1][1] / curve[0][1], 2),
            }
        )
    first, last = curves["opskit"][0][1], curves["opskit"][-1][1]
    finding.goal(
        f"pinned xmin, {size.pinned:,} files", "last tenth within 10 % of the first",
        f"{first:,.0f} → {last:,.0f} files/s", last >= 0.9 * first, last / first,
    )  # fmt: skip
    return finding


@contextlib.contextmanager
def pinned(url: str) -> Iterator[None]:
    """A transaction that has seen the database and goes on."""
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM pg_class")
        yield


def curve(db: Database, ended: str, work: Callable[[], None]) -> list[tuple[float, float]]:
    """The rate of each tenth while an xmin is pinned."""
    url = db.settings.database_url or ""
    with pinned(url):
        work()
    count = one(db, f"SELECT count(*) FROM ({ended}) AS f")
    rows = ask(db, TENTHS.format(count, ended))
    return [((row["tenth"] + 1) * count / 10, round(float(row["rate"]), 1)) for row in rows]


def of_opskit(db: Database, files: int) -> list[tuple[float, float]]:
    def work() -> None:
        with nodes(db):
            settle(db)
            fill(db, files)
            until(lambda: not ask(db, "SELECT 1 FROM dev_uploaded_files WHERE processing_status = 'queued' LIMIT 1"))

    empty(db)
    return curve(db, ENDED, work)


def of_the_floor(db: Database, files: int) -> list[tuple[float, float]]:
    return curve(db, floor.ENDED, lambda: floor.workers(db.settings.database_url or "", 1, files))


def of_a_peer(db: Database, peer: str, jobs: int) -> list[tuple[float, float]]:
    url = another(db, f"pinned_{peer.lower()}")

    def work() -> None:
        with peers.working(peer, url, 1):
            peers.call(peer, url, "fill", jobs)
            until(lambda: one(place, peers.QUEUED[peer]) == 0, every=0.5)

    with opened(url) as place:
        peers.call(peer, url, "install")
        return curve(place, peers.ENDED[peer], work)


if __name__ == "__main__":
    alone("pinned", measure, __doc__)
