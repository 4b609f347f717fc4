"""What attempts have said: `opskit logs ID`."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict

from opskit.cli.chosen import file_of
from opskit.cli.verbs import Verbs
from opskit.database import Database
from opskit.errors import DatabaseUnavailableError, OpskitError
from opskit.queue import attempt_logs, lanes
from opskit.queue.lanes import NO_LANE
from opskit.settings.command_line import settings_of
from opskit.support import console
from opskit.support.visible import visible_lines

_LOOK_SECONDS = 1.0


def add_logs(verbs: Verbs) -> None:
    """Add `opskit logs`."""
    one = verbs.add("logs", logs, "show what the attempts at a file have printed and logged")
    one.add_argument("id", metavar="ID|NAME", help="its id, its name, or a part of its name that no other has")
    one.add_argument("--follow", action="store_true", help="go on until the file has ended")
    one.add_argument("--attempt", type=int, metavar="N", help="only this attempt; defaults to all")
    verbs.finish(one)


def logs(given: argparse.Namespace) -> int:
    """Show what the attempts at a file have said; with --follow until it has ended."""
    settings = settings_of(given)
    with Database(settings, pooled=False) as db:
        given.id = file_of(db, given.id)["id"]
        (named,) = lanes.beside(db, [{"id": given.id}], "id")
        shown = _Shown(given, named)
        while True:
            try:
                # In this order: what was said before the file had ended is read after that was seen.
                over = not given.follow or _look(db, given.id) not in ("queued", "processing")
                if shown.read(db):
                    continue
            except DatabaseUnavailableError as error:
                if not given.follow:
                    raise
                console.err.print(f"{error}; going on as soon as it answers", markup=False)
                over = False
            if over:
                return 0
            time.sleep(_LOOK_SECONDS)


def _look(db: Database, id: str) -> str | None:
    """The state of a file.

    Raises:
        OpskitError: There is no such file.
    """
    rows = db.run("file", id=id)
    if not rows:
        raise OpskitError(f"there is no file {id!r} in {db.settings.files}")
    status: str | None = rows[0]["processing_status"]
    return status


class _Shown:
    """The output shown so far, and the place behind it."""

    def __init__(self, given: argparse.Namespace, named: dict[str, str | None]) -> None:
        self._given = given
        # Where the table has lanes only.
        self._lane = {"lane": named["lane"]} if "lane" in named else {}
        self._place = attempt_logs.Place()
        self._attempt = 0

    def read(self, db: Database) -> bool:
        """Show what has come; whether there was anything."""
        found = attempt_logs.read(db, self._given.id, after=self._place)
        for said in found:
            self._place = said.place
            if self._given.attempt in (None, said.attempt):
                self._show(said)
        return bool(found)

    def _show(self, said: attempt_logs.Said) -> None:
        if self._given.json:
            console.as_json(asdict(said) | self._lane)
            return
        if said.attempt != self._attempt:
            self._attempt = said.attempt
            of_lane = "".join(f", lane {NO_LANE if lane is None else lane}" for lane in self._lane.values())
            console.err.print(f"-- attempt {said.attempt} on {said.server_id or 'no node'}{of_lane}", markup=False)
        if said.left_out:
            console.err.print(f"-- {said.left_out:,} bytes are not kept", markup=False)
        for line in said.text.removesuffix("\n").split("\n"):
            print(visible_lines(line))
        sys.stdout.flush()
