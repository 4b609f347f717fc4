"""One file: where it stands, the application's columns, and everything that happened to it."""

from __future__ import annotations

import argparse

from opskit.cli.statistics import plain, table
from opskit.cli.verbs import Verbs
from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import OpskitError
from opskit.queue import row_content
from opskit.queue.error_lines import last_line
from opskit.settings.command_line import settings_of
from opskit.support import console
from opskit.support.logs import masked

MOST = 20
_SEARCHED = 100_000


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
        row = _found(db, given.file)
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


def _found(db: Database, wanted: str) -> Row:
    """The file with this id; else the one with this name, or with this as a part of it.

    Raises:
        OpskitError: There is none, or more than one.
    """
    by_id = row_content.file(db, wanted)
    if by_id is not None:
        return by_id
    rows = db.run(
        "files_list", status="", server_id="", search=wanted, of_lane="", ids=[], search_rows=_SEARCHED,
        before_at="", before_id="", row_limit=MOST + 1,
    )  # fmt: skip
    exact = [row for row in rows if row["original_filename"] == wanted]
    rows = exact or rows
    if not rows:
        raise OpskitError(f"there is no file with the id or the name {wanted!r} ({db.settings.env})")
    if len(rows) > 1:
        more = "" if len(rows) <= MOST else " and more"
        listed = ", ".join(
            f"{row['id']} ({row['original_filename']}, {row['processing_status']})" for row in rows[:MOST]
        )
        raise OpskitError(f"{wanted!r} is the name of {len(rows[:MOST])} files{more}; say which id: {listed}")
    found = row_content.file(db, rows[0]["id"])
    if found is None:
        raise OpskitError(f"there is no file with the id or the name {wanted!r} ({db.settings.env})")
    return found
