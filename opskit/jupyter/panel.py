"""What `opskit.watch` shows: read from the database as plain data, and the same as a table that needs no script."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from opskit import doctor, queue
from opskit.database import Database
from opskit.queue.error_identity import last_line
from opskit.queue.states import FileState
from opskit.support import notebook_output

SLOW_SECONDS = 10.0
"""How often what takes longer is read: the doctor, failures, what ended [s]."""
_MOST_ROWS = 8
_WINDOW_SECONDS = 900.0


class Panel:
    """The reader of one panel.

    Args:
        db: A database with a connection of its own: it is read from a thread.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._slow: dict[str, Any] = {}
        self._slow_at = -SLOW_SECONDS

    def read(self) -> dict[str, Any]:
        """Everything that the panel shows, as JSON knows it.

        Raises:
            OpskitError: The database does not answer.
        """
        from opskit import stats

        db = self._db
        if time.monotonic() - self._slow_at >= SLOW_SECONDS:
            self._slow, self._slow_at = self._read_slowly(), time.monotonic()
        now = stats.records(stats.concurrency(db, patience_seconds=1.0))[0]
        preview = queue.preview(db, look=False)
        nodes = stats.records(stats.nodes(db))
        state = {
            "env": db.settings.env,
            "table": db.settings.files,
            "as_of": f"as of {str(now['as_of'])[11:19]} UTC",
            "away": "",
            "chips": [[name, now[name]] for name in FileState if now[name] is not None],
            "forecast": _forecast(now["queued"], self._slow["per_second"]),
            "claims": [
                {
                    "file": row["original_filename"], "server": row["processing_server_id"],
                    "minutes": round(row["minutes_processing"] or 0, 1), "verdict": row["verdict"],
                }
                for row in preview[:_MOST_ROWS]
            ],
            "nodes": [_node(row) for row in nodes if row["state"] != "stopped"][: 3 * _MOST_ROWS],
            **{key: self._slow[key] for key in ("needs", "failures", "ended", "may_act", "may_not")},
        }  # fmt: skip
        return state | {"actions": _actions(preview, self._slow["groups"], bool(now["all_paused"]), db.settings.env)}

    def hurry(self) -> None:
        """Read everything at the next turn: something was done."""
        self._slow_at = -SLOW_SECONDS

    def _read_slowly(self) -> dict[str, Any]:
        from opskit import stats

        db = self._db
        findings = [
            finding for finding in doctor.examine(db) if finding.check in doctor.WORK or finding.level == "error"
        ]
        groups = stats.records(stats.failures(db, limit=_MOST_ROWS, patience_seconds=1.0))
        events = stats.records(stats.events(db, kind="attempt", limit=_MOST_ROWS))
        ended = stats.throughput(db, since_seconds=_WINDOW_SECONDS, bucket_seconds=_WINDOW_SECONDS)
        return {
            "needs": [{"level": one.level, "what": one.what, "mend": one.mend} for one in findings],
            "groups": groups,
            "failures": [
                {"error": row["error"], "files": row["file_count"], "latest": _short(row["latest"])} for row in groups
            ],
            "ended": [
                {
                    "at": _short(row["at"]), "file": row["file_id"], "server": row["server_id"],
                    "said": f"{row['outcome']}: {last_line(row['reason'])}",
                }
                for row in events
            ],
            "per_second": float(ended["file_count"].sum()) / _WINDOW_SECONDS,
            **_rights(db),
        }  # fmt: skip


def _rights(db: Database) -> dict[str, Any]:
    if db.settings.read_only:
        return {"may_act": False, "may_not": "this connection is read-only"}
    may = bool(db.one("may_act")["may"])
    return {"may_act": may, "may_not": "" if may else "this role may only read"}


def _node(row: Mapping[str, Any]) -> dict[str, Any]:
    done, total = row["progress_done"], row["progress_total"]
    share = None if done is None or not total else round(100 * min(max(done / total, 0), 1))
    minutes = None if row["minutes_processing"] is None else round(row["minutes_processing"], 1)
    return {
        "server": row["server_id"], "state": row["state"], "file": row["original_filename"], "share": share,
        "minutes": minutes,
    }  # fmt: skip


def _actions(
    preview: queue.Preview, groups: Sequence[Mapping[str, Any]], paused: bool, env: str
) -> list[dict[str, Any]]:
    """What may be pressed. The second press carries what the first one named: names of claims, the text of a group."""
    actions = []
    if preview:
        claims = f"{len(preview)} {'claim' if len(preview) == 1 else 'claims'}"
        actions.append(
            {
                "group": "claims", "key": "cleanup", "verb": "cleanup", "label": "Clean up…",
                "confirm": f"End {claims} ({env})", "values": {"claims": [row["claim"] for row in preview]},
            }
        )  # fmt: skip
    for number, row in enumerate(groups):
        files = f"{row['file_count']} {'file' if row['file_count'] == 1 else 'files'}"
        actions.append(
            {
                "group": "failures", "key": f"requeue {row['error']}", "verb": "requeue",
                "label": f"Requeue group {number + 1}…", "confirm": f"Queue {files} again ({env})",
                "values": {"error": row["error"]},
            }
        )  # fmt: skip
    verb = "resume" if paused else "pause"
    actions.append(
        {
            "group": "nodes", "key": verb, "verb": verb, "label": f"{verb.capitalize()} all…",
            "confirm": f"{verb.capitalize()} every node ({env})", "values": {},
        }
    )  # fmt: skip
    return actions


def act(db: Database, verb: str, values: Mapping[str, Any], *, reason: str) -> str:
    """Do what was pressed twice; answers what was done, in a sentence.

    Raises:
        OpskitError: It was refused.
    """
    if verb == "cleanup":
        done = queue.cleanup(db, claims=[str(claim) for claim in values["claims"]], reason=reason)
        moved = f"; {len(done.skipped)} moved on by themselves" if done.skipped else ""
        second = f"; {len(done.pending)} need a second look: press again in two seconds" if done.pending else ""
        return f"{len(done.ended)} {'claim' if len(done.ended) == 1 else 'claims'} ended{second}{moved}"
    if verb == "requeue":
        return queue.requeue(db, failed=True, error=str(values["error"]), reason=reason).message
    if verb == "pause":
        return queue.pause(db, reason=reason).message
    if verb == "resume":
        return queue.resume(db, reason=reason).message
    return f"there is no action {verb!r}"


def as_html(state: Mapping[str, Any]) -> str:
    """The panel as tables: what remains in an exported notebook, and what is shown where no script runs."""
    first = f"opskit watch, {state['env']}, {state['table']}, {state['as_of']}"
    chips = ", ".join(f"{count} {name}" for name, count in state["chips"])
    parts = [notebook_output.sentences(first, *filter(None, (chips, state["forecast"], state["away"])))]
    for title, key, empty in (
        ("What needs a person", "needs", "nothing: all is well"),
        ("Claims that nobody works on", "claims", "none"),
        ("Nodes", "nodes", "no nodes are registered"),
        ("Failures", "failures", "no file has failed"),
        ("What ended badly last", "ended", "nothing"),
    ):
        rows = state[key]
        columns = {name: isinstance(value, (int, float)) for name, value in rows[0].items()} if rows else {}
        values = [list(row.values()) for row in rows]
        parts.append(notebook_output.sentences(title))
        parts.append(notebook_output.frame(columns, values, hidden=0, most_letters=300, below=[] if rows else [empty]))
    return "".join(parts)


def _forecast(queued: int | None, per_second: float) -> str:
    if not queued:
        return ""
    if not per_second:
        return "nothing has ended in the last 15 min"
    seconds = queued / per_second
    span = f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    return f"done in about {span} at the pace of the last 15 min" if seconds >= 60 else "done in less than a minute"


def _short(moment: object) -> str:
    text = str(moment or "")
    return f"{text[:10]} {text[11:19]}"
