"""What runs on this machine: up, prove, bench, the page, the embedded PostgreSQL, notebooks."""

from __future__ import annotations

import argparse

from opskit.cli.verbs import Verbs, count_of
from opskit.database import embedded, psql
from opskit.errors import MissingExtraError, OpskitError
from opskit.settings.command_line import settings_of
from opskit.support import console


def add_up(verbs: Verbs) -> None:
    """Add `opskit up`."""
    one = verbs.add("up", up, "everything at once: database, migration, files, nodes, page and API")
    one.add_argument("paths", nargs="*", metavar="PATH", help="files, folders and URLs to enqueue")
    one.add_argument("--nodes", type=count_of, default=3, metavar="N", help="nodes to start; defaults to 3")
    one.add_argument("--no-dashboard", action="store_true", help="no page and no API")
    one.add_argument("--until-done", action="store_true", help="end when nothing is queued or processing")
    one.add_argument("--migrate", action="store_true", help="migrate also a database that is not the embedded one")
    verbs.finish(one)


def up(given: argparse.Namespace) -> int:
    """Bring everything up, and show what was done."""
    from opskit.local.up import up

    summary = up(
        settings_of(given),
        given.paths,
        nodes=given.nodes,
        dashboard=not given.no_dashboard,
        until_done=given.until_done,
        migrate=given.migrate,
    )
    if given.json:
        console.as_json(summary)
    else:
        columns = ("serverId", "completed", "failed", "retried")
        console.table([{name: node.get(name) for name in columns} for node in summary["nodes"]])
        console.out.print(
            f"{summary['completed']} completed, {summary['failed']} failed in {summary['seconds']:g} s "
            f"({summary['environment']}, {summary['table']})"
        )
        if left := summary["queued"] + summary["processing"]:
            console.out.print(f"{left} {'file waits' if left == 1 else 'files wait'}; opskit up goes on with them")
            for reason in summary["reasons"]:
                console.out.print(f"  {reason}", markup=False, highlight=False)
    return 1 if given.until_done and summary["failed"] else 0


def add_prove(verbs: Verbs) -> None:
    """Add `opskit prove`."""
    one = verbs.add("prove", prove, "try the promises on this database, in a scratch schema that is dropped afterwards")
    one.add_argument(
        "--nodes", type=count_of, default=4, metavar="N", help="nodes that race, at least 3; defaults to 4"
    )
    one.add_argument("--files", type=int, default=400, metavar="N", help="files they race for; defaults to 400")
    one.add_argument("--seconds", type=float, default=60, metavar="S", help="longest time [s]; defaults to 60")
    one.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments of the faults; defaults to 1")
    verbs.finish(one)


def prove(given: argparse.Namespace) -> int:
    """Try the promises on this database."""
    from opskit.local.prove import prove

    def say(line: str) -> None:
        console.err.print(line)

    answer = prove(
        settings_of(given), nodes=given.nodes, files=given.files, seconds=given.seconds, seed=given.seed, on_line=say
    )
    if given.json:
        console.as_json(answer)
    else:
        rows = [{**promise, "holds": "yes" if promise["holds"] else "NO"} for promise in answer["promises"]]
        console.table(rows)
        console.out.print(", ".join(f"{count} {fault}" for fault, count in answer["faults"].items()), soft_wrap=True)
        for phrase in answer["wrong"]:
            console.out.print(phrase)
    return 0 if answer["holds"] else 1


def add_bench(verbs: Verbs) -> None:
    """Add `opskit bench`."""
    one = verbs.add("bench", bench, "measure what this database can do for nodes, in a scratch schema")
    one.add_argument("--nodes", type=count_of, default=8, metavar="N", help="most nodes at once; defaults to 8")
    one.add_argument("--seconds", type=float, default=30, metavar="S", help="about how long [s]; defaults to 30")
    one.add_argument("--file-ms", type=float, metavar="MS", help="how long a file takes [ms]; defaults to a table")
    verbs.finish(one)


def bench(given: argparse.Namespace) -> int:
    """Measure what this database can do."""
    from opskit.local.bench import bench

    def say(line: str) -> None:
        console.err.print(line)

    answer = bench(settings_of(given), nodes=given.nodes, seconds=given.seconds, file_ms=given.file_ms, on_line=say)
    if given.json:
        console.as_json(answer)
    else:
        claim = answer["claim_ms"]
        console.table(
            [{"a claim": "complete one file, claim the next", "p50 [ms]": claim["p50"], "p99 [ms]": claim["p99"]}]
        )
        parts = {"network round trip": "round_trip_ms", "commit": "commit_ms", "the server's work": "server_ms"}
        console.table([{"of it": name, "[ms]": answer[key]} for name, key in parts.items()])
        console.table([{"nodes": one["nodes"], "files/s": one["files_per_second"]} for one in answer["rates"]])
        console.table(
            [{"a file takes [ms]": one["file_ms"], "nodes it can feed": one["nodes"]} for one in answer["feeds"]]
        )
        for sentence in answer["limits"]:
            console.out.print(sentence, soft_wrap=True)
    return 0


def add_dashboard(verbs: Verbs) -> None:
    """Add `opskit dashboard`."""
    verbs.finish(verbs.add("dashboard", dashboard, "serve page and API"), json=False)


def dashboard(given: argparse.Namespace) -> int:
    """Serve page and API."""
    try:
        from opskit.web.server import serve
    except ImportError as error:
        raise MissingExtraError(error.name or "streamlit", "ui") from None
    return serve(settings_of(given))


def add_db(verbs: Verbs) -> None:
    """Add `opskit db`."""
    one = verbs.add("db", database, "start, stop or open the embedded PostgreSQL, or print its URL")
    one.add_argument("what", choices=["start", "stop", "url", "psql"], metavar="start|stop|url|psql")
    one.add_argument("arguments", nargs="*", metavar="ARG", help="for psql; after --")
    verbs.finish(one, json=False)


def database(given: argparse.Namespace) -> int:
    """Start, stop or open the embedded PostgreSQL."""
    settings = settings_of(given)
    if given.what == "start":
        print(embedded.start(settings))
    elif given.what == "stop":
        console.err.print("stopped" if embedded.stop(settings) else "it was not running")
    elif given.what == "url":
        url = embedded.url(settings)
        if url is None:
            raise OpskitError("the embedded PostgreSQL is not running; start it with: opskit db start")
        print(url)
    else:
        return psql.run(settings, given.arguments)
    return 0
