"""What this process is, and what a query's SQL is."""

from __future__ import annotations

import argparse

from opskit.cli.verbs import Verbs
from opskit.database import queries
from opskit.queue.server_id import server_info
from opskit.settings.command_line import settings_of
from opskit.support import console


def add_info(verbs: Verbs) -> None:
    """Add `opskit info`."""
    verbs.finish(verbs.add("info", info, "show this process: server ID, environment, version"))


def info(given: argparse.Namespace) -> int:
    """Show this process."""
    answer = server_info(settings_of(given))
    if given.json:
        console.as_json(answer)
    else:
        console.table([{"this process": key, "value": str(value)} for key, value in answer.items()])
    return 0


def add_query(verbs: Verbs) -> None:
    """Add `opskit query`."""
    one = verbs.add("query", query, "print a query's SQL, ready for psql")
    one.add_argument("name", metavar="NAME", help="such as distribution")
    one.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)


def query(given: argparse.Namespace) -> int:
    """Print a query's SQL."""
    print(queries.standalone(given.name.replace("-", "_")), end="")
    return 0
