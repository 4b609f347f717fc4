"""What `opskit.watch` shows: the Overview as plain data, what may be pressed, and both as tables without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opskit import queue
from opskit.database import Database, Row
from opskit.doctor.overview import Overview
from opskit.queue.error_lines import last_line
from opskit.queue.states import FileState
from opskit.support import notebook_output, wording

_MOST_CLAIMS, _MOST_NODES = 8, 24
_MOST_LINES, _MOST_LETTERS = 3, 300
_UNREAD = "this role may not read what attempts say"


class Panel:
    """The reader of one panel.

    Args:
        db: A database with a connection of its own: it is read from a thread.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._overview = Overview(db)

    def read(self) -> dict[str, Any]:
        """Everything that the panel shows, as JSON knows it.

        Raises:
            OpskitError: The database does not answer.
        """
        db, seen = self._db, self._overview.read()
        now, page = seen["numbers"], (db.settings.page_url or "").rstrip("/")
        nodes = seen["nodes"][:_MOST_NODES]
        return {
            "env": seen["environment"],
            "table": seen["table"],
            "page": page,
            "as_of": f"as of {seen['as_of']:%H:%M:%S} UTC",
            "away": "",
            "chips": [[name, now[name]] for name in FileState if now[name] is not None],
            "forecast": _forecast(seen["forecast"], now["queued"]),
            "needs": [
                {"level": one["level"], "what": one["what"], "mend": one["mend"],
                 "link": page and f"{page}/doctor?runbook={one['condition']}"}
                for one in seen["needs"]
            ],
            "claims": [_claim(row) for row in seen["claims"][:_MOST_CLAIMS]],
            "nodes": [_node(row) for row in nodes],
            "failures": [
                {"error": row["error"], "files": row["file_count"], "latest": _short(row["latest"])}
                for row in seen["failures"]
            ],
            "ended": [
                {"at": _short(row["at"]), "file": row["file_id"], "server": row["server_id"],
                 "said": f"{row['outcome']}: {last_line(row['reason'])}"}
                for row in seen["attempts"]
            ],
            "lines": [_said(row) for row in seen["said"] or []],
            "unread": _UNREAD if seen["said"] is None else "",
            "actions": _actions(seen),
            **_rights(db),
        }  # fmt: skip

    def hurry(self) -> None:
        """Read everything at the next turn: something was done."""
        self._overview.hurry()


def _rights(db: Database) -> dict[str, Any]:
    if db.settings.read_only:
        return {"may_act": False, "may_not": "this connection is read-only"}
    may = bool(db.one("may_act")["may"])
    return {"may_act": may, "may_not": "" if may else "this role may only read"}


def _claim(row: Row) -> dict[str, Any]:
    return {
        "file": row["original_filename"], "server": row["processing_server_id"],
        "minutes": round(row["minutes_processing"] or 0, 1), "verdict": row["verdict"],
    }  # fmt: skip


def _node(row: Row) -> dict[str, Any]:
    done, total = row["progress_done"], row["progress_total"]
    share = None if done is None or not total else round(100 * min(max(done / total, 0), 1))
    minutes = None if row["minutes_processing"] is None else round(row["minutes_processing"], 1)
    return {
        "server": row["server_id"], "state": row["state"], "file": row["original_filename"], "share": share,
        "minutes": minutes, "action": f"cancel {row['file_id']}" if row["file_id"] else None,
    }  # fmt: skip


def _said(row: Row) -> dict[str, Any]:
    lines = row["text"].rstrip("\n").splitlines()[-_MOST_LINES:]
    short = [line if len(line) <= _MOST_LETTERS else line[:_MOST_LETTERS] + "…" for line in lines]
    return {
        "at": _short(row["at"]), "file": row["original_filename"] or row["file_id"], "server": row["server_id"],
        "said": "\n".join(short),
    }  # fmt: skip


def _actions(seen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What may be pressed. The second press carries what the first one named: names of claims, the text of a group."""
    actions: list[dict[str, Any]] = []

    def offer(group: str, key: str, verb: str, label: str, confirm: str, **values: Any) -> None:
        confirm = f"{confirm} ({seen['environment']})"
        actions.append({"group": group, "key": key, "verb": verb, "label": label, "confirm": confirm, "values": values})

    claims: Sequence[Row] = seen["claims"]
    if claims:
        named = [row["claim"] for row in claims]
        offer("claims", "cleanup", "cleanup", "Clean up…", f"End {wording.count(len(named), 'claim')}", claims=named)
    for number, row in enumerate(seen["failures"]):
        files = wording.count(row["file_count"], "file")
        label = f"Requeue group {number + 1}…"
        offer("failures", f"requeue {row['error']}", "requeue", label, f"Queue {files} again", error=row["error"])
    nodes: Sequence[Row] = seen["nodes"]
    verb = "resume" if seen["numbers"]["all_paused"] else "pause"
    many = wording.count(seen["numbers"]["active_servers"], "node")
    offer("nodes", verb, verb, f"{verb.capitalize()} all…", f"{verb.capitalize()} {many}, and those that come")
    for row in nodes[:_MOST_NODES]:
        if row["file_id"]:
            what = f"Cancel 1 file, {row['original_filename']} on {row['server_id']}"
            offer("rows", f"cancel {row['file_id']}", "cancel", "Cancel…", what, ids=[row["file_id"]])
    return actions


def act(db: Database, verb: str, values: Mapping[str, Any], *, reason: str) -> str:
    """Do what was pressed twice; returns what was done, in a sentence.

    Raises:
        OpskitError: It was refused.
    """
    if verb == "cleanup":
        done = queue.cleanup(db, claims=[str(claim) for claim in values["claims"]], reason=reason)
        moved = f"; {len(done.skipped)} moved on by themselves" if done.skipped else ""
        second = f"; {len(done.pending)} need a second look: press again in two seconds" if done.pending else ""
        return f"{wording.count(len(done.ended), 'claim')} ended{second}{moved}"
    if verb == "cancel":
        return queue.cancel(db, [str(id) for id in values["ids"]], reason=reason).message
    if verb == "requeue":
        return queue.requeue(db, failed=True, error=str(values["error"]), reason=reason).message
    if verb == "pause":
        return queue.pause(db, reason=reason).message
    if verb == "resume":
        return queue.resume(db, reason=reason).message
    return f"there is no action {verb!r}"


_TABLES: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("What needs a person", "needs", {"level": "level", "what": "what", "mend": "mend"}, "nothing: all is well"),
    ("Claims that nobody works on", "claims",
     {"file": "file", "server": "server", "minutes": "min", "verdict": "verdict"}, "none"),
    ("Nodes", "nodes",
     {"server": "server", "state": "state", "file": "file", "share": "progress [%]", "minutes": "min"},
     "no nodes are registered"),
    ("Failures", "failures", {"error": "error", "files": "files", "latest": "latest"}, "no file has failed"),
    ("What ended badly last", "ended", {"at": "at", "file": "file", "server": "server", "said": "said"}, "nothing"),
    ("What attempts said last", "lines", {"at": "at", "file": "file", "server": "server", "said": "said"}, "nothing"),
)  # fmt: skip


def as_html(state: Mapping[str, Any]) -> str:
    """The panel as tables: what remains in an exported notebook, and what is shown where no script runs."""
    first = f"opskit watch, {state['env']}, {state['table']}, {state['as_of']}"
    chips = ", ".join(f"{count:,} {name}" for name, count in state["chips"])
    parts = [notebook_output.sentences(first, *filter(None, (chips, state["forecast"], state["away"])))]
    for title, key, columns, empty in _TABLES:
        rows = state[key]
        is_number = {label: any(isinstance(row[name], (int, float)) for row in rows) for name, label in columns.items()}
        values = [[row[name] for name in columns] for row in rows]
        below = [] if rows else [(key == "lines" and state["unread"]) or empty]
        parts.append(notebook_output.sentences(title))
        parts.append(notebook_output.frame(is_number, values, hidden=0, most_letters=_MOST_LETTERS, below=below))
    return "".join(parts)


def _forecast(row: Mapping[str, Any] | None, queued: int) -> str:
    if row is None or not queued or row["verdict"] == "empty":  # files came since it was read, or none is due yet
        return ""
    if row["change_per_minute"] is None:
        return wording.outlook(row["verdict"], row["empty_in_seconds"])
    change = row["change_per_minute"]
    rate = f"{'+' if change > 0 else ''}{wording.rate(change)} a minute"
    return f"{rate} · {wording.outlook(row['verdict'], row['empty_in_seconds'])}"


def _short(moment: Any) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
