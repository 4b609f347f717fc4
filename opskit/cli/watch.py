"""The Overview in a terminal: `opskit watch`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opskit.cli.verbs import Verbs, seconds_of
from opskit.database import Database, Row
from opskit.doctor.overview import Overview
from opskit.errors import OpskitError
from opskit.queue.states import FileState
from opskit.settings.command_line import settings_of
from opskit.support import console, screen, wording
from opskit.support.logs import masked
from opskit.support.screen import Section

EVERY_SECONDS = 2.0
_LEAST_SECONDS = 0.2
_STATEMENT_SECONDS = 5.0
_MOST_NEEDS, _MOST_GROUPS, _FEWEST_NODES = 6, 5, 3
_STYLES = {
    "error": "bold red", "warning": "yellow", "live": "green", "paused": "yellow", "draining": "yellow",
    "quarantined": "red", "silent": "yellow", "dead": "red",
}  # fmt: skip
# Those that need a person first, then those at work.
_ORDER = ("dead", "silent", "quarantined", "paused", "draining", "live")


def add_watch(verbs: Verbs) -> None:
    """Add `opskit watch`."""
    one = verbs.add("watch", watch, "show what needs a person, the queue, nodes and failures, live; q ends it")
    one.add_argument(
        "--every", type=_interval, default=EVERY_SECONDS, metavar="TIME", help="how often to look; defaults to 2s"
    )
    one.add_argument("--once", action="store_true", help="show it once and end; so it is where nobody sees a screen")
    verbs.finish(one)


def _interval(text: str) -> float:
    seconds = seconds_of(text)
    if seconds < _LEAST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is too short; the shortest is {_LEAST_SECONDS}s")
    return seconds


def watch(given: argparse.Namespace) -> int:
    """Show the Overview until q, Ctrl-C, or with --once; with --json one object at each look."""
    settings = settings_of(given)
    with Database(settings, pooled=False, statement_seconds=_STATEMENT_SECONDS, name="watch") as db:
        looks = _Looks(db)
        seen = looks.first()
        try:
            if given.json:
                _stream(looks, seen, once=given.once, every=given.every)
            elif given.once or not screen.is_screen():
                screen.print_page(*page(seen))
            else:
                _live(looks, seen, every=given.every)
        except KeyboardInterrupt:
            return 0
    return 0


class _Looks:
    """Looks at one database, over one connection; one that fails leaves the last in place."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._overview = Overview(db)
        self._last: dict[str, Any] = {}

    def first(self) -> dict[str, Any]:
        """The first look.

        Raises:
            OpskitError: There is nothing to look at.
        """
        self._last = self._overview.read() | {"away": ""}
        return self._last

    def next(self) -> dict[str, Any]:
        """What is seen now; `away` says in a sentence that the database does not answer, until it is back."""
        try:
            return self.first()
        except OpskitError as error:
            self._db.drop_connection()
            return self._last | {"away": masked(str(error))}


def _stream(looks: _Looks, seen: dict[str, Any], *, once: bool, every: float) -> None:
    while True:
        console.as_json(_plain(seen))
        if once:
            return
        time.sleep(every)
        seen = looks.next()
        if seen["away"]:
            # Old numbers would be taken for those of this moment.
            seen = {key: seen[key] for key in ("environment", "table", "away")} | {"as_of": None}


def _live(looks: _Looks, seen: dict[str, Any], *, every: float) -> None:
    with screen.screen() as shown:
        while True:
            shown.show(screen.drawn(*page(seen, height=shown.height)))
            if shown.wait(every):
                return
            seen = looks.next()


def page(seen: Mapping[str, Any], *, height: int | None = None) -> tuple[list[tuple[str, str]], list[Section]]:
    """What was seen, as the first lines and sections of a screen.

    Args:
        seen: An `Overview`'s, and `away`.
        height: Lines of the screen, which the nodes fill. Defaults to no end.
    """
    head = _head(seen, on_screen=height is not None)
    needs = [{"level": one["level"], "what": _need(one)} for one in seen["needs"][:_MOST_NEEDS]]
    if more := len(seen["needs"]) - _MOST_NEEDS:
        needs += [{"level": "", "what": f"and {more} more: opskit doctor"}] if more > 0 else []
    groups = [
        {"files": row["file_count"], "last day": row["last_day"], "error": row["error"]}
        for row in seen["failures"][:_MOST_GROUPS]
    ]
    sections = [
        Section("What needs a person", needs, "nothing: all is well", styles=_STYLES, is_prose=True),
        Section("Nodes", [], "no node is registered", styles=_STYLES),
        Section("Failures", groups, "no file has failed"),
    ]
    if seen["claims"]:
        claims = wording.count(len(seen["claims"]), "claim")
        row = {"level": "warning", "what": f"{claims} that nobody works on\nopskit cleanup --dry-run"}
        if all(one["check"] != "claims" for one in seen["needs"]):
            sections[0] = Section(sections[0].title, [*needs, row], styles=_STYLES, is_prose=True)
    room = None if height is None else height - len(head) - _lines(sections) - 2
    nodes = sorted(seen["nodes"], key=lambda row: (_ORDER.index(row["state"]), not row["file_id"], row["server_id"]))
    shown = nodes if room is None else nodes[: max(room, _FEWEST_NODES)]
    rows = [_node(row) for row in shown]
    title = "Nodes" if len(shown) == len(nodes) else f"Nodes: {len(shown)} of {len(nodes)}"
    sections[1] = Section(title, rows, sections[1].empty, styles=_STYLES)
    return head, sections


def _head(seen: Mapping[str, Any], *, on_screen: bool) -> list[tuple[str, str]]:
    now, moment = seen["numbers"], seen["as_of"]
    first = f"opskit  {seen['environment']}  {seen['table']}  as of {moment:%H:%M:%S} UTC"
    head = [(first + ("   q ends it" if on_screen else ""), "bold")]
    if seen["away"]:
        head.append((f"{seen['away']}; going on as soon as it answers", "bold red"))
    counts = [f"{now[state]:,} {state}" for state in FileState if now[state] is not None]
    nodes = wording.count(now["active_servers"], "live node")
    counts.append(f"{now['claiming_nodes']:,} of {nodes} may claim")
    head.append((" · ".join(counts), ""))
    head.append((" · ".join(_queue(now, seen["forecast"])), ""))
    return head


def _queue(now: Mapping[str, Any], ahead: Mapping[str, Any] | None) -> list[str]:
    """The queue in words, and where it goes."""
    said = []
    if ahead is not None:
        if now["queued"] and ahead["change_per_minute"] is not None:
            change = ahead["change_per_minute"]
            said.append(f"{'+' if change > 0 else ''}{wording.rate(change)} a minute")
        if not now["queued"] or ahead["verdict"] != "empty":  # else files came since it was read, or none is due yet
            said.append(f"the queue: {wording.outlook(ahead['verdict'], ahead['empty_in_seconds'])}")
        said.append(f"last minute {ahead['came_minute']:,} came, {ahead['ended_minute']:,} ended")
    if now["oldest_queued_seconds"] is not None:
        said.append(f"oldest {wording.span(now['oldest_queued_seconds'])}")
    return said


def _need(one: Mapping[str, Any]) -> str:
    lines = [f"{one['what']}: {one['why']}", *one["mend"].splitlines()]
    return "\n".join([*lines, f"opskit doctor --explain {one['condition']}"])


def _node(row: Mapping[str, Any]) -> Row:
    done, total = row["progress_done"], row["progress_total"]
    if done is None:
        progress = ""
    elif total:
        progress = f"{min(max(done / total, 0), 1):.0%}"
    else:
        progress = f"{done:,}"
    seconds = None if row["minutes_processing"] is None else 60 * row["minutes_processing"]
    return {
        "server": row["server_id"], "state": row["state"], "file": row["original_filename"] or "", "progress": progress,
        "for": "" if seconds is None else wording.span(seconds),
    }  # fmt: skip


def _lines(sections: list[Section]) -> int:
    """How many lines they take; a long one may take more."""
    rows = [row for section in sections for row in section.rows]
    return sum(str(list(row.values())[-1]).count("\n") + 1 for row in rows) + 3 * len(sections)


def _plain(value: Any) -> Any:
    """As JSON knows it."""
    if isinstance(value, datetime):
        return wording.iso(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
