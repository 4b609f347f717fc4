"""What a shell completes: `opskit completion bash`, a script made from the command line's own parser."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from opskit.cli.verbs import Verbs
from opskit.database import Database, embedded, queries
from opskit.doctor import Condition
from opskit.errors import OpskitError
from opskit.queue import lanes
from opskit.settings import ENVIRONMENTS
from opskit.settings.command_line import settings_of

SHELLS = ("bash", "zsh", "fish")
_WHAT = (*SHELLS, "nodes")
# A shell expands what it offers: a name with more than these in it would be a command.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=.,-]+")
_PATIENCE_SECONDS = 1.0
_NODES = "opskit completion nodes 2>/dev/null"
_COMPLETE_NODES = {
    "bash": "_opskit_nodes",
    "zsh": "_opskit_nodes",
    "fish": f"({_NODES})",
    "preamble": {
        "bash": f'_opskit_nodes() {{ compgen -W "$({_NODES})" -- "$1"; }}\n',
        "zsh": f'_opskit_nodes() {{ local -a names; names=(${{(f)"$({_NODES})"}}); compadd -a names }}\n',
    },
}


def add_completion(verbs: Verbs) -> None:
    """Add `opskit completion`."""
    one = verbs.add("completion", completion, "print a script that completes verbs, flags and nodes in your shell")
    one.add_argument("what", choices=_WHAT, metavar="SHELL", help=f"{', '.join(SHELLS)}; nodes: their server IDs alone")
    verbs.finish(one, json=False)


def completion(given: argparse.Namespace) -> int:
    """Print the script for a shell, or the names that it asks for while somebody types."""
    if given.what == "nodes":
        for name in _nodes(given):
            print(name)
        return 0
    import shtab

    from opskit.cli.main import build_parser

    parser = build_parser()
    for action in _actions(parser):
        _teach(action, files=shtab.FILE, folders=shtab.DIRECTORY)
    print(shtab.complete(parser, shell=given.what))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _actions(one)


def _teach(action: argparse.Action, *, files: Mapping[str, Any], folders: Mapping[str, Any]) -> None:
    """Say what an argument takes, where the parser does not know; settings are completed, too."""
    if action.help == argparse.SUPPRESS:
        action.help = getattr(action, "described", argparse.SUPPRESS)
    if action.dest == "env":
        action.choices = list(ENVIRONMENTS)
    elif action.dest == "explain":
        action.choices = list(Condition)
    elif action.dest == "name" and action.metavar == "NAME":
        action.choices = sorted(path.stem.replace("_", "-") for path in queries.FOLDER.glob("[!_]*.sql"))
    elif action.metavar == "NODE":
        action.complete = _COMPLETE_NODES  # type: ignore[attr-defined]  # what shtab looks for
    elif action.metavar in ("PATH", "FILE", "NOTEBOOK"):
        action.complete = files  # type: ignore[attr-defined]  # the same
    elif action.metavar in ("DIR", "HOME"):
        action.complete = folders  # type: ignore[attr-defined]  # the same


def _nodes(given: argparse.Namespace) -> Iterator[str]:
    """The server IDs that a shell can take as they are; none where it would take long to know."""
    with contextlib.suppress(OpskitError):
        settings = settings_of(given)
        if settings.database_url is None and embedded.url(settings) is None:
            return  # a key must not start a server
        with Database(settings, pooled=False, statement_seconds=_PATIENCE_SECONDS) as db:
            lanes.known(db)
            for row in db.run("nodes"):
                if _PLAIN.fullmatch(row["server_id"]) and row["state"] != "stopped":
                    yield row["server_id"]
