"""Give queued files a head start, one, several or a filtered set."""

from __future__ import annotations

import argparse
from typing import Any

from opskit import queue
from opskit.cli.chosen import ids_of, say_left
from opskit.cli.tables import table
from opskit.cli.verbs import Verbs, actor, confirm, seconds_of
from opskit.database import Database
from opskit.queue.expediting import BATCH
from opskit.settings.command_line import settings_of
from opskit.support import console, wording


def add_expedite(verbs: Verbs) -> None:
    """Add `opskit expedite`."""
    one = verbs.add("expedite", expedite, "give queued files a head start in the queue")
    one.add_argument("ids", nargs="*", metavar="ID", help="files that are queued, by id or whole name")
    one.add_argument("--all", action="store_true", help="every queued file that the filters let through")
    one.add_argument("--lane", default="", help="only files of this lane; (none): without one")
    one.add_argument("--search", default="", metavar="TEXT", help="only files whose name contains this, in any case")
    one.add_argument(
        "--ahead", type=seconds_of, default=3600.0, metavar="TIME",
        help="the head start before their arrival: 90s, 30m, 2h or 1d; 0 takes one back; defaults to 1h",
    )  # fmt: skip
    one.add_argument("--dry-run", action="store_true", help="show what would be moved; changes nothing")
    one.add_argument("--yes", action="store_true", help="with --all: do not ask")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def expedite(given: argparse.Namespace) -> int:
    """Give queued files a head start, or show which would have one."""
    settings = settings_of(given)
    which: dict[str, Any] = {
        "every": given.all,
        "search": given.search,
        "lane": given.lane,
        "ahead_seconds": given.ahead,
    }
    with Database(settings, pooled=False) as db:
        ids = ids_of(db, given.ids)
        if given.dry_run or given.all:
            rows = queue.preview_expedite(db, ids, **which)
            many = "at least " if len(rows) == BATCH else ""
            files = f"{many}{wording.count(len(rows), 'file')}"
            if given.dry_run:
                _show(given, rows, f"{files} would be moved ahead ({settings.env})", settings.env)
                return 0
            if rows:
                confirm(given, f"move {files} of {settings.env} ahead, as --dry-run shows")
        moved = queue.expedite(db, ids, **which, actor=actor(), reason=given.reason)
    _show(given, moved, f"{wording.count(len(moved), 'file')} moved ahead ({settings.env})", settings.env, done=True)
    if not given.json:
        say_left(ids, moved, "not queued, or no such file")
    return 0


def _show(
    given: argparse.Namespace, rows: list[dict[str, object]], sentence: str, env: str, *, done: bool = False
) -> None:
    if given.json:
        counted = {"expedited": len(rows)} if done else {}
        console.as_json({"environment": env, **counted, "files": rows})
        return
    table(rows, empty="none of the files is queued; nothing was moved")
    console.out.print(sentence)
