"""Cancel files, one, several or a filtered set."""

from __future__ import annotations

import argparse
from typing import Any

from opskit import queue
from opskit.cli.chosen import ids_of
from opskit.cli.tables import table
from opskit.cli.verbs import Verbs, actor, confirm
from opskit.database import Database
from opskit.queue.cancelling import BATCH, Cancellation
from opskit.settings.command_line import settings_of
from opskit.support import console, wording


def add_cancel(verbs: Verbs) -> None:
    """Add `opskit cancel`."""
    one = verbs.add("cancel", cancel, "cancel files that are queued or in processing: they fail at once, never retried")
    one.add_argument("ids", nargs="*", metavar="ID", help="these files, by id or whole name")
    one.add_argument("--all", action="store_true", help="every file that the filters let through")
    one.add_argument("--lane", default="", help="only files of this lane; (none): without one")
    one.add_argument(
        "--status", "--state", default="", choices=("queued", "processing"), help="only files in this state"
    )
    one.add_argument("--server", default="", metavar="NODE", help="only files in processing on this node")
    one.add_argument("--search", default="", metavar="TEXT", help="only files whose name contains this, in any case")
    one.add_argument("--dry-run", action="store_true", help="show what would be cancelled; changes nothing")
    one.add_argument("--yes", action="store_true", help="with --all: do not ask")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def cancel(given: argparse.Namespace) -> int:
    """Cancel files, or show which would be."""
    settings = settings_of(given)
    which: dict[str, Any] = {
        "every": given.all,
        "status": given.status,
        "server_id": given.server,
        "search": given.search,
        "lane": given.lane,
    }
    with Database(settings, pooled=False) as db:
        ids = ids_of(db, given.ids)
        if given.dry_run or given.all:
            rows = queue.preview_cancel(db, ids, **which)
            if given.dry_run:
                _show_preview(given, rows, settings.env)
                return 0
            if rows:
                many = "at least " if len(rows) == BATCH else ""
                confirm(given, f"cancel {many}{wording.count(len(rows), 'file')} of {settings.env}, as --dry-run shows")
        done = queue.cancel(db, ids, **which, actor=actor(), reason=given.reason)
    _show(given, done, settings.env)
    return 0 if done.ended or done.asked or not done.kept else 1


def _show_preview(given: argparse.Namespace, rows: list[dict[str, object]], env: str) -> None:
    if given.json:
        console.as_json({"environment": env, "files": rows})
        return
    table(rows, empty="no such file is queued or in processing")
    console.out.print(f"{wording.count(len(rows), 'file')} would be cancelled ({env})")


def _show(given: argparse.Namespace, done: Cancellation, env: str) -> None:
    rows = [*done.ended, *done.asked, *done.kept]
    if given.json:
        console.as_json(
            {"environment": env, "cancelledFiles": len(done.ended), "message": done.message, "files": rows,
             "skipped": done.skipped}
        )  # fmt: skip
        return
    if rows:
        table(rows)
    console.out.print(f"{done.message} ({env})")
    if done.skipped:
        console.out.print(f"neither queued nor in processing, or no such file: {', '.join(done.skipped)}")
