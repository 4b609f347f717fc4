"""The shell: `opskit VERB`. A verb's body is one library call with the same words.

Tables and bars for people, `--json` for programs, talk on stderr. Exit codes: 0 done, 1 opskit error,
2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from opskit._version import __version__
from opskit.cli.argument_words import arranged, divided
from opskit.cli.verbs import Parser, Verbs
from opskit.errors import OpskitError
from opskit.support.logs import masked
from opskit.support.visible import visible_lines

VERBS: dict[str, str] = {
    "up": "local:add_up",
    "worker": "nodes:add_worker",
    "process": "files:add_process",
    "migrate": "migrate:add_migrate",
    "enqueue": "files:add_enqueue",
    "cleanup": "cleanup:add_cleanup",
    "watch": "watch:add_watch",
    "stats": "statistics:add_stats",
    "file": "file:add_file",
    "info": "info:add_info",
    "logs": "logs:add_logs",
    "requeue": "files:add_requeue",
    "cancel": "cancel:add_cancel",
    "undo": "undo:add_undo",
    "expedite": "expedite:add_expedite",
    "pause": "nodes:add_pause",
    "resume": "nodes:add_resume",
    "drain": "nodes:add_drain",
    "forget": "nodes:add_forget",
    "doctor": "doctor:add_doctor",
    "prove": "local:add_prove",
    "bench": "local:add_bench",
    "prune": "nodes:add_prune",
    "dashboard": "local:add_dashboard",
    "notebooks": "notebooks:add_notebooks",
    "report": "notebooks:add_report",
    "query": "info:add_query",
    "db": "local:add_db",
    "completion": "completion:add_completion",
}
"""Each verb, and what adds it: a command line loads what its own verb needs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    words, rest = divided(sys.argv[1:] if argv is None else argv)
    try:
        words = arranged(words, VERBS)
    except OpskitError as error:
        print(visible_lines(f"opskit: {error}"), file=sys.stderr)
        return 2
    verb = words[0] if words and words[0] in VERBS else None
    given = build_parser(verb).parse_args(words, argparse.Namespace(rest=rest))
    try:
        return given.verb(given)  # type: ignore[no-any-return]  # set by build_parser
    except OpskitError as error:
        if given.verbose:
            print(visible_lines(masked(traceback.format_exc())), file=sys.stderr)
        print(visible_lines(f"opskit: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has had enough: `opskit stats | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def verbs_of(parser: argparse.ArgumentParser) -> list[str]:
    """The names of the verbs."""
    return [name for action in parser._actions if isinstance(action.choices, dict) for name in action.choices]


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The command line: verbs with their own flags and those of the settings.

    Args:
        verb: Only this one. Defaults to all.
    """
    parser = Parser(
        prog="opskit",
        description="Process uploaded files on many nodes, each file once; see and steer it.",
        epilog="Exit codes: 0 done, 1 error (one sentence on stderr), 2 bad usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"opskit {__version__}")
    verbs = Verbs(parser)
    for name in VERBS if verb is None else (verb,):
        module, _, add = VERBS[name].partition(":")
        getattr(importlib.import_module(f"opskit.cli.{module}"), add)(verbs)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
