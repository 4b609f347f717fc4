"""The peers, each used as its own documentation says: one job at a time per worker process, a job that does nothing.

They are installed from PyPI when first needed, each into an environment of its own under .opskit-bench/. There this
file is run by their own Python: `peers.py NAME install|fill|arrive|work`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / ".opskit-bench"
PACKAGES = {
    "PgQueuer": ("pgqueuer==1.6.*", "asyncpg", "uvloop"),
    "procrastinate": ("procrastinate==3.10.*", "psycopg[binary]"),
    "Oban": ("oban==0.7.*",),
}
LEAST_PYTHON = {"Oban": (3, 12)}
QUEUED = {
    "PgQueuer": "SELECT count(*) FROM pgqueuer",
    "procrastinate": "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
    "Oban": "SELECT count(*) FROM oban_jobs WHERE state <> 'completed'",
}
ENDED = {
    "PgQueuer": "SELECT created AS ended FROM pgqueuer_log WHERE status = 'successful'",
    "procrastinate": "SELECT at AS ended FROM procrastinate_events WHERE type = 'succeeded'",
    "Oban": "SELECT completed_at AS ended FROM oban_jobs WHERE state = 'completed'",
}
TABLES = {
    "PgQueuer": "pgqueuer, pgqueuer_log",
    "procrastinate": "procrastinate_jobs, procrastinate_events",
    "Oban": "oban_jobs",
}


# -- from outside ------------------------------------------------------------------------------------


def python(name: str) -> Path | None:
    """The Python of a peer's environment, made when it is missing; None when this machine cannot have it."""
    found = FOLDER / name.lower() / "bin" / "python"
    ready = found.parent.parent / ".ready"
    if ready.exists():
        return found
    base = _base(name)
    if base is None:
        print(f"{name} needs Python {'.'.join(map(str, LEAST_PYTHON[name]))}, which is not here", file=sys.stderr)
        return None
    print(f"installing {name} into {found.parent.parent}", file=sys.stderr)
    subprocess.run([base, "-m", "venv", "--clear", found.parent.parent], check=True)
    command = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{name} cannot be installed, it is left out: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    ready.touch()
    return found


def _base(name: str) -> str | None:
    least = LEAST_PYTHON.get(name, (3, 11))
    if sys.version_info >= least:
        return sys.executable
    # A version manager's shim on PATH may be there without its version: those it keeps are looked for, too.
    kept = [*Path.home().glob(".pyenv/versions/*/bin"), *Path.home().glob(".local/share/uv/python/*/bin")]
    path = os.pathsep.join(map(str, [*kept, os.environ["PATH"]]))
    for minor in range(20, least[1] - 1, -1):  # the newest: old ones may lack wheels
        found = shutil.which(f"python3.{minor}", path=path)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def available() -> dict[str, Path]:
    """The peers that can be measured here."""
    return {name: found for name in PACKAGES if (found := python(name)) is not None}


def version(name: str) -> str:
    """Which version is installed."""
    code = f"from importlib.metadata import version; print(version({name.lower()!r}))"
    return subprocess.check_output([FOLDER / name.lower() / "bin" / "python", "-c", code], text=True).strip()


def call(name: str, url: str, verb: str, *words: object) -> None:
    """Run one verb of a peer to its end."""
    subprocess.run(_command(name, verb, *words), env=_environ(url), check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def working(name: str, url: str, count: int, **more: str) -> Iterator[None]:
    """So many workers of a peer, up and waiting; asked to stop at the end."""
    running = [
        subprocess.Popen(
            _command(name, "work"), env=_environ(url) | more, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(count)
    ]
    try:
        for worker in running:
            assert worker.stdout is not None
            worker.stdout.readline()
        time.sleep(1.0)  # ready means about to listen
        yield
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()


def _command(name: str, verb: str, *words: object) -> list[str]:
    return [str(FOLDER / name.lower() / "bin" / "python"), __file__, name, verb, *map(str, words)]


def _environ(url: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": url}


# -- from inside their own environments --------------------------------------------------------------


def noted(inserted_ns: object) -> None:
    """What every job does: nothing, or note how long ago it was inserted."""
    if target := os.environ.get("BENCH_STAMPS"):
        with open(target, "a") as file:
            file.write(f"{(time.time_ns() - int(str(inserted_ns))) / 1e9}\n")


async def pgqueuer(verb: str, url: str, words: list[str]) -> None:
    import asyncpg  # type: ignore[import-not-found]  # in its own environment
    from pgqueuer import PgQueuer  # type: ignore[import-not-found]  # in its own environment
    from pgqueuer.db import AsyncpgDriver  # type: ignore[import-not-found]  # in its own environment
    from pgqueuer.queries import Queries  # type: ignore[import-not-found]  # in its own environment

    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    if verb == "install":
        await queries.install()
    elif verb == "fill":
        count = int(words[0])
        await queries.enqueue(["nothing"] * count, [None] * count, [0] * count)
    elif verb == "arrive":
        for _ in range(int(words[0])):
            await queries.enqueue("nothing", str(time.time_ns()).encode())
            await asyncio.sleep(float(words[1]))
    else:
        pgq = PgQueuer(AsyncpgDriver(connection))

        @pgq.entrypoint("nothing")  # type: ignore[untyped-decorator]  # in its own environment
        async def nothing(job: Any) -> None:
            noted((job.payload or b"0").decode())

        print("ready", flush=True)
        await pgq.run(batch_size=1)  # one job at a time


async def procrastinate(verb: str, url: str, words: list[str]) -> None:
    from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]  # in its own environment

    app = App(connector=PsycopgConnector(conninfo=url))

    @app.task(name="nothing", queue="bench")  # type: ignore[untyped-decorator]  # in its own environment
    async def nothing(at: int) -> None:
        noted(at)

    async with app.open_async():
        if verb == "install":
            await app.schema_manager.apply_schema_async()
        elif verb == "fill":
            await nothing.batch_defer_async(*({"at": 0} for _ in range(int(words[0]))))
        elif verb == "arrive":
            for _ in range(int(words[0])):
                await nothing.defer_async(at=time.time_ns())
                await asyncio.sleep(float(words[1]))
        else:
            print("ready", flush=True)
            await app.run_worker_async(queues=["bench"], concurrency=1)


async def oban(verb: str, url: str, words: list[str]) -> None:
    from oban import Oban, worker  # type: ignore[import-not-found]  # in its own environment
    from oban.schema import install  # type: ignore[import-not-found]  # in its own environment
    from psycopg_pool import AsyncConnectionPool

    class Nothing:
        async def process(self, job: Any) -> None:
            noted(job.args["at"])

    job: Any = worker(queue="bench")(Nothing)

    async with AsyncConnectionPool(conninfo=url, min_size=1, max_size=10, open=False) as pool:
        if verb == "install":
            await install(pool)
            return
        if verb == "work":
            stopped = asyncio.Event()
            import signal

            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
            async with Oban(pool=pool, queues={"bench": 1}):
                print("ready", flush=True)
                await stopped.wait()
            return
        client = Oban(pool=pool)
        async with client:
            if verb == "fill":
                await client.enqueue_many([job.new({"at": 0}) for _ in range(int(words[0]))])
            else:
                for _ in range(int(words[0])):
                    await job.enqueue({"at": time.time_ns()})
                    await asyncio.sleep(float(words[1]))


def main(name: str, verb: str, *words: str) -> None:
    """One verb of one peer."""
    work = {"PgQueuer": pgqueuer, "procrastinate": procrastinate, "Oban": oban}[name]
    run = asyncio.run
    with contextlib.suppress(ImportError):
        import uvloop  # type: ignore[import-not-found]  # in their own environments

        run = uvloop.run
    run(work(verb, os.environ["DATABASE_URL"], list(words)))


if __name__ == "__main__":
    main(*sys.argv[1:])
