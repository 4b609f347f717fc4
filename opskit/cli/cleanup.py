"""Cleanup of stale claims and orphans."""

from __future__ import annotations

import argparse

from opskit import queue
from opskit.cli.verbs import Verbs, actor
from opskit.database import Database
from opskit.queue import reaper
from opskit.queue.states import Verdict
from opskit.settings.command_line import settings_of
from opskit.stats.catalog import STATISTICS
from opskit.support import console


def add_cleanup(verbs: Verbs) -> None:
    """Add `opskit cleanup`."""
    one = verbs.add("cleanup", cleanup, "end stale claims and orphans")
    one.add_argument("claims", nargs="*", metavar="CLAIM", help="only these, as --dry-run names them in JSON")
    one.add_argument("--dry-run", action="store_true", help="show what would be ended, with the evidence")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def cleanup(given: argparse.Namespace) -> int:
    """End stale claims and orphans, or show which would be ended."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        if given.dry_run:
            looked = reaper.take_look(db)
            rows = queue.preview(db, look=False)
            if rows and not looked:
                console.err.print(
                    "nothing can be written here, so this was no look: where one is due, cleanup takes two more"
                )
            if given.json:
                console.as_json({"environment": settings.env, "files": rows})
            else:
                shown = [{name: row[name] for name in STATISTICS["stale"].first} for row in rows]
                console.table(shown, empty="no claim is stale or orphaned")
            return 0
        done = queue.cleanup(db, claims=given.claims, actor=actor(), reason=given.reason)
    if given.json:
        console.as_json(
            {"environment": settings.env, "cleanedFiles": len(done.ended), "message": done.message,
             "files": done.ended, "pending": done.pending, "skipped": done.skipped}
        )  # fmt: skip
        return 0
    names = ("id", "original_filename", "server_id", "started_at", "outcome", "reason")
    if done.ended or done.pending:
        console.table([{n: row[n] for n in names} for row in done.ended + done.pending])
    console.out.print(f"{done.message} ({settings.env})")
    if unsure := sum(Verdict(row["verdict"]).needs_second_look for row in done.pending):
        console.out.print(f"{unsure} need a second look: run it again in {reaper.LOOK_SECONDS:g} s")
    if kept := len(done.pending) - unsure:
        console.out.print(f"{kept} should end, and the table does not let their rows be changed: see the reason")
    if done.skipped:
        console.out.print(f"{len(done.skipped)} skipped: they moved on")
    return 0
