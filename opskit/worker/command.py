"""The command line of a node: `python -m opskit.worker` and `opskit worker`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

from opskit.errors import OpskitError
from opskit.files.processor import check_processor
from opskit.queue.server_id import server_id
from opskit.settings import Settings
from opskit.support.logs import set_up_logging
from opskit.support.memory import peak_bytes
from opskit.support.parent_death import end_with
from opskit.support.visible import visible_lines
from opskit.worker.supervisor import Supervisor


def run(
    settings: Settings,
    *,
    drain: bool = False,
    max_files: int | None = None,
    only: str | None = None,
    as_json: bool = False,
    verbose: bool = False,
) -> int:
    """Run one node in this process until it is told to stop; returns the exit code."""
    check_processor(settings)
    set_up_logging(server_id(settings), settings.env, verbose=verbose, format=settings.log_format)
    supervisor = Supervisor(settings, drain=drain, max_files=max_files, only=only)
    code = supervisor.run()
    if as_json:
        print(json.dumps(summary(supervisor)), flush=True)
    return code


def summary(supervisor: Supervisor) -> dict[str, Any]:
    """The counts of a node's work, for programs."""
    snapshot = supervisor.shared_status.read()
    return {
        "serverId": supervisor.server_id,
        "environment": supervisor.settings.env,
        "completed": snapshot.completed,
        "failed": snapshot.failed,
        "retried": snapshot.retried,
        "supervisorPeakBytes": peak_bytes(),
        "childPeakBytes": peak_bytes(children=True),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m opskit.worker`: the same as `opskit worker`."""
    from opskit.settings.command_line import add_settings

    parser = argparse.ArgumentParser(prog="opskit worker", description="Run one node: claim and process files.")
    add_worker_flags(parser)
    add_settings(parser)
    given = parser.parse_args(argv)
    try:
        return run_given(given)
    except OpskitError as error:
        print(visible_lines(f"opskit: {error}"), file=sys.stderr)
        return 1


def run_given(given: argparse.Namespace) -> int:
    """Run the node that a command line describes."""
    from opskit.settings.command_line import settings_of

    if given.parent is not None:
        end_with(given.parent, signal.SIGTERM)
    if given.nodes is not None:
        return _run_pool(given)
    return run(
        settings_of(given), drain=given.drain, max_files=given.max_files, as_json=given.json, verbose=given.verbose
    )


def _run_pool(given: argparse.Namespace) -> int:
    from opskit.settings.command_line import settings_of
    from opskit.worker.pool import run_pool

    flags = [flag for flag, is_given in (("--drain", given.drain), ("--verbose", given.verbose)) if is_given]
    if given.max_files is not None:
        flags += ["--max-files", str(given.max_files)]
    code, summary = run_pool(settings_of(given), given.nodes, flags, verbose=given.verbose)
    if given.json:
        print(json.dumps(summary), flush=True)
    return code


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 1 and 1000")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def add_worker_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that only a worker has."""
    parser.add_argument(
        "--nodes",
        type=_count,
        metavar="N",
        help="run N nodes, each with a server ID of its own: NODE_ID-1, NODE_ID-2, …",
    )
    parser.add_argument("--drain", action="store_true", help="end when the queue is empty")
    parser.add_argument("--max-files", type=_at_least_one, metavar="N", help="end after N files")
    parser.add_argument("--json", action="store_true", help="at the end, one JSON document on stdout")
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
