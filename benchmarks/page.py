"""The page: how long its reruns take and what they cost the database, for 1 and 20 tabs, on small and large tables.

A tab is a real WebSocket session of Streamlit's own protocol, which ticks as a browser does: when the page says so.
The time of a rerun is from the message that asks for it to the one that says that the script has finished,
measured at the client, on the machine of the server. First paint is Chromium's, until the first number is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import tell
from scale_table import table
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from opskit.database import Database

PAGES = ("", "nodes", "files", "failures", "cleanup", "timeline", "doctor", "history")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def page(db: Database) -> Iterator[tuple[str, int]]:
    """The page over a database: its address, and the number of its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {**os.environ, **db.settings.environ(), "OPSKIT_PORT": str(port)}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opskit.web"], env=environ, cwd=folder, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                with contextlib.suppress(OSError), urllib.request.urlopen(url + "/healthz", timeout=2):
                    break
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait(10)


class Tab:
    """One session: what a browser's tab is to the server."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.fragment, self.every = "", 5.0
        self.page = ""
        self.pieces = 0

    async def run(self, page_name: str = "", fragment: str = "") -> float:
        """Have the script, or a fragment of it, run; how long until it has finished [s]."""
        ask = BackMsg()
        ask.rerun_script.page_name = page_name
        ask.rerun_script.fragment_id = fragment
        ask.rerun_script.is_auto_rerun = bool(fragment)
        self.pieces = 0
        began = time.perf_counter()
        await self._socket.send(ask.SerializeToString())
        while True:
            said = ForwardMsg()
            said.ParseFromString(await self._socket.recv(decode=False))
            kind = said.WhichOneof("type")
            if kind == "auto_rerun":
                self.fragment, self.every = said.auto_rerun.fragment_id, said.auto_rerun.interval
            if kind == "navigation":
                shown = said.navigation.page_script_hash
                self.page = next(p.url_pathname for p in said.navigation.app_pages if p.page_script_hash == shown)
            if kind == "delta":
                self.pieces += 1
            if kind == "script_finished":
                return time.perf_counter() - began

    async def tick(self, seconds: float) -> list[float]:
        """Tick as the page told it to, for so long; the times of the reruns."""
        end, times = time.perf_counter() + seconds, []
        await asyncio.sleep(random.uniform(0, self.every))
        while time.perf_counter() < end:
            times.append(await self.run(fragment=self.fragment))
            await asyncio.sleep(max(0.0, self.every - times[-1]))
        return times


async def tabs(url: str, count: int, seconds: float) -> tuple[list[float], list[float]]:
    """Open so many tabs of the overview and let them tick; the times of their first runs and of their ticks."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(Tab(await stack.enter_async_context(opening(url))))
        first = [await tab.run() for tab in opened]
        ticks = await asyncio.gather(*(tab.tick(seconds) for tab in opened))
    return first, [took for times in ticks for took in times]


async def each_page(url: str) -> dict[str, tuple[float, float, int]]:
    """How long each page takes in a tab of its own, at first and then [s], and its pieces.

    The page that was drawn says which it is, and how many pieces it has: a page that is not there would be quick.
    """
    times = {}
    for name in PAGES:
        async with opening(url) as socket:
            tab = Tab(socket)
            cold = await tab.run(name)
            pieces = tab.pieces
            warm = statistics.median([await tab.run(name) for _ in range(5)])
            assert tab.page == name, f"asked for {name!r}, drawn was {tab.page!r}"
            times[name or "overview"] = cold, warm, pieces
    return times


def opening(url: str) -> Any:
    """A WebSocket as the page opens it."""
    stream = url.replace("http", "ws", 1) + "/_stcore/stream"
    return connect(stream, origin=Origin(url), subprotocols=[Subprotocol("streamlit")], max_size=None)


def statements(db: Database) -> int:
    """Statements that this database has committed so far; each is a transaction of its own."""
    time.sleep(1.5)  # the server's counters are as late as that
    with db.connection() as connection:
        row = connection.execute(
            b"SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row["n"])


def first_paint(url: str) -> float | None:
    """Until the first number of the overview is drawn in a fresh browser: median of three [s]."""
    if CHROMIUM is None:
        return None
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        for _ in range(3):
            context = browser.new_context()
            tab = context.new_page()
            began = time.perf_counter()
            tab.goto(url)
            tab.get_by_test_id("stMetricValue").first.wait_for(timeout=60_000)
            times.append(time.perf_counter() - began)
            context.close()
        browser.close()
    return statistics.median(times)


def resident(pid: int) -> float:
    """Memory that a process holds [MB]."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(db: Database, rows: int, seconds: float) -> Iterator[dict[str, Any]]:
    """One line for each number of tabs, over a table of so many rows."""
    with page(db) as (url, pid):
        for number in (1, 20):
            asyncio.run(tabs(url, 1, 0))  # the process has imported everything, and has its connections
            before, began = statements(db), time.perf_counter()
            first, ticks = asyncio.run(tabs(url, number, seconds))
            after, took = statements(db), time.perf_counter() - began
            yield {
                "rows": rows,
                "tabs": number,
                "open [ms]": _ms(statistics.median(first)),
                "rerun, median [ms]": _ms(statistics.median(ticks)),
                "rerun, p95 [ms]": _ms(sorted(ticks)[int(len(ticks) * 0.95)]),
                "queries a second": round((after - before - 1) / took, 2),
                "first paint [ms]": _ms(first_paint(url)) if number == 1 else None,
                "memory [MB]": round(resident(pid)),
            }


def measure_pages(db: Database, rows: int) -> Iterator[dict[str, Any]]:
    """One line for each page, of a process that has just started: the first page's first run has it import things."""
    with page(db) as (url, _):
        for name, (cold, warm, pieces) in asyncio.run(each_page(url)).items():
            yield {
                "rows": rows,
                "page": name,
                "first run [ms]": _ms(cold),
                "rerun [ms]": _ms(warm),
                "pieces": pieces,
            }


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the tabs tick")
    parser.add_argument("--keep", metavar="FOLDER", help="keep the tables there for the next run, or for scale.py")
    given = parser.parse_args()
    ticking: list[dict[str, Any]] = []
    pages: list[dict[str, Any]] = []
    for rows in given.rows:
        with table(rows, given.keep) as db:
            ticking += list(measure(db, rows, given.seconds))
            pages += measure_pages(db, rows)
    tell("page", ticking)
    tell("page-by-page", pages)


if __name__ == "__main__":
    main()
