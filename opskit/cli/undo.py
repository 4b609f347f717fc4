"""Undo an act: what a cleanup or a cancel failed is queued again, what was paused is resumed."""

from __future__ import annotations

import argparse

from opskit import queue
from opskit.cli.verbs import Verbs, actor
from opskit.database import Database
from opskit.settings.command_line import settings_of
from opskit.support import console


def add_undo(verbs: Verbs) -> None:
    """Add `opskit undo`."""
    one = verbs.add("undo", undo, "undo an act: queue again what a cleanup or a cancel failed, resume what was paused")
    one.add_argument("act", type=int, metavar="ACT", help="its number, as `opskit stats acts` gives it")
    one.add_argument("--dry-run", action="store_true", help="show what would be undone; changes nothing")
    one.add_argument("--reason", default="", help="why, for the history")
    verbs.finish(one)


def undo(given: argparse.Namespace) -> int:
    """Undo an act, or show what that would do."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        if given.dry_run:
            done = queue.preview_undo(db, given.act)
        else:
            done = queue.undo(db, given.act, actor=actor(), reason=given.reason)
    if given.json:
        console.as_json(
            {"environment": settings.env, "act": done.act, "kind": done.kind, "how": done.how, "files": done.files,
             "resumed": done.scopes, "kept": done.kept, "message": done.message}
        )  # fmt: skip
    else:
        if done.files:
            console.table(list(done.files))
        console.out.print(f"{done.message} ({settings.env})")
    return 0 if done else 1
