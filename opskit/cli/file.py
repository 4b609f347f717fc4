"""One file: where it stands, the application's columns, and everything that happened to it."""

from __future__ import annotations

import argparse

from opskit.cli.chosen import file_of
from opskit.cli.tables import plain, table
from opskit.cli.verbs import Verbs
from opskit.database import Database
from opskit.queue import row_content
from opskit.queue.error_lines import last_line
from opskit.settings.command_line import settings_of
from opskit.support import console
from opskit.support.logs import masked


def add_file(verbs: Verbs) -> None:
    """Add `opskit file`."""
    one = verbs.add("file", file, "show one file: its state, its attempts, its error and your columns")
    one.add_argument("file", metavar="ID|NAME", help="its id, its name, or a part of its name that no other has")
    one.add_argument("--wide", action="store_true", help="every column, however wide the terminal is")
    verbs.finish(one)


def file(given: argparse.Namespace) -> int:
    """Show one file."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        row = file_of(db, given.file)
        names = settings.shown_columns
        own = {} if names == () else row_content.columns(db, row["id"], names)
        events = db.run("events", file_id=row["id"], kind="", row_limit=200)
    own = {name: value for name, value in own.items() if name not in row}
    if given.json:
        console.as_json({**plain(row), "columns": plain(own), "events": [plain(event) for event in events]})
        return 0
    facts = {**row, "storage_path": masked(row["storage_path"] or "in the row"), **own}
    error = facts.pop("processing_errors")
    console.table([{"file": key, "value": plain({key: value})[key]} for key, value in facts.items()])
    if error:
        console.out.print(last_line(error), soft_wrap=True)
        if given.verbose:
            console.out.print(error, soft_wrap=True)
    shown = ("at", "kind", "outcome", "next_status", "attempt", "server_id", "reason", "actor")
    table([plain(event) for event in events], shown, wide=given.wide, title="what happened, newest first")
    return 0
