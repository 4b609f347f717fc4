"""The shell: `opskit VERB`. A verb's body is one library call with the same words.

Tables and bars for people, `--json` for programs, talk on stderr. Exit codes: 0 done, 1 opskit error,
2 bad usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from opskit._version import __version__
from opskit.cli import cancel, cleanup, file, files, local, logs, migrate, nodes, notebooks, reports, statistics, watch
from opskit.cli.verbs import Verbs
from opskit.cli.words import arranged
from opskit.errors import OpskitError
from opskit.support.logs import masked
from opskit.support.visible import visible_lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; answers the exit code."""
    parser = build_parser()
    words, rest = notebooks.divided(sys.argv[1:] if argv is None else argv)
    try:
        words = arranged(words, verbs_of(parser))
    except OpskitError as error:
        print(visible_lines(f"opskit: {error}"), file=sys.stderr)
        return 2
    given = parser.parse_args(words, argparse.Namespace(rest=rest))
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


def build_parser() -> argparse.ArgumentParser:
    """The command line: every verb with its own flags and those of the settings."""
    parser = argparse.ArgumentParser(
        prog="opskit",
        description="Process uploaded files on many nodes, each file once; see and steer it.",
        epilog="Exit codes: 0 done, 1 error (one sentence on stderr), 2 bad usage, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"opskit {__version__}")
    verbs = Verbs(parser)
    for add in (
        local.add_up,
        nodes.add_worker,
        files.add_process,
        migrate.add_migrate,
        files.add_enqueue,
        cleanup.add_cleanup,
        watch.add_watch,
        statistics.add_stats,
        file.add_file,
        reports.add_info,
        logs.add_logs,
        files.add_requeue,
        cancel.add_cancel,
        files.add_expedite,
        nodes.add_pause_and_resume,
        nodes.add_drain,
        nodes.add_forget,
        reports.add_doctor,
        local.add_prove,
        local.add_bench,
        nodes.add_prune,
        local.add_dashboard,
        notebooks.add_notebooks,
        notebooks.add_report,
        reports.add_query,
        local.add_db,
    ):
        add(verbs)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
