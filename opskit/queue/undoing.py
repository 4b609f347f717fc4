"""Undo: what a cleanup or a cancel failed is queued again, what was paused is resumed, where it stands so still."""

from __future__ import annotations

from dataclasses import dataclass

from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import UnknownActError
from opskit.queue.nodes import resumption
from opskit.queue.requeuing import requeue, requeueable
from opskit.support import notebook_output, wording


@dataclass(frozen=True, slots=True, repr=False)
class Undo:
    """The result of an undo, or of its preview.

    Attributes:
        act: The act's number.
        kind: What the act was, as `stats.acts` calls it.
        how: requeue, resume, or "" when nothing of it can be undone any more.
        files: The files that are queued again.
        scopes: Whom it resumes: server IDs, or * for all.
        kept: How many of the act's files or pauses are left as they are, because something has happened since.
        message: The same as a sentence.
    """

    act: int
    kind: str
    how: str
    files: tuple[Row, ...]
    scopes: tuple[str, ...]
    kept: int
    message: str

    def __bool__(self) -> bool:
        return bool(self.files or self.scopes)

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.sentences(self.message)


def preview_undo(db: Database, act: int) -> Undo:
    """What `undo` would do now; nothing is changed.

    Args:
        db: An open database.
        act: The act's number, as `stats.acts` gives it.

    Raises:
        UnknownActError: There is no such act.

    SQL: sql/act.sql, sql/requeue.sql rolled back
    """
    db.writing()
    kind, events, open_ = _members(db, act)
    ids, attempts = _fence(open_)
    files = requeueable(db, ids, attempts=attempts) if open_ and kind != "pause" else []
    scopes = [row["server_id"] for row in open_] if kind == "pause" else []
    return _told(act, kind, len(events), files, scopes, "would be ")


def undo(db: Database, act: int, *, actor: str = "", reason: str = "") -> Undo:
    """Undo an act where that is safe: queue again what a cleanup or a cancel failed, resume what was paused.

    A file is left alone when anything has happened to it since, and so is a pause that has ended.

    Args:
        db: An open database.
        act: The act's number, as `stats.acts` gives it; of more than 100,000 events the last ones.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Raises:
        UnknownActError: There is no such act.

    SQL: sql/act.sql, sql/requeue.sql, sql/resume.sql
    """
    db.writing()
    kind, events, open_ = _members(db, act)
    why = f"undoes act {act}" + (f": {reason}" if reason else "")
    if kind == "pause":
        scopes = [
            row["server_id"] for row in open_ if resumption(db, row["server_id"], actor=actor, reason=why).changed
        ]
        return _told(act, kind, len(events), [], scopes)
    ids, attempts = _fence(open_)
    files = requeue(db, ids, attempts=attempts, actor=actor, reason=why) if open_ else []
    return _told(act, kind, len(events), files, [])


def _members(db: Database, act: int) -> tuple[str, list[Row], list[Row]]:
    """What the act was, its events that an undo is about, and those of them that stand so still."""
    # Beyond it, PostgreSQL refuses the number in words of its own.
    rows = db.run("act", act=act) if 0 < act < 2**63 else []
    if not rows:
        raise UnknownActError(f"there is no act {act}; opskit stats acts lists them")
    kind = str(rows[0]["kind"])
    about = [row for row in rows if kind == "pause" or row["next_status"] in ("failed", "processing")]
    return kind, about, [row for row in rows if row["undo"]]


def _fence(rows: list[Row]) -> tuple[list[str], list[str]]:
    """The files, and the attempt at which each has to stand still."""
    return [row["file_id"] for row in rows], [f"{row['file_id']}/{row['attempt'] or 0}" for row in rows]


def _told(act: int, kind: str, about: int, files: list[Row], scopes: list[str], would: str = "") -> Undo:
    done = len(files) + len(scopes)
    kept = max(about - done, 0) if kind in ("cleanup", "cancel", "pause") else 0
    left = f"; {kept:,} left alone, because something has happened since" if kept else ""
    how = ("resume" if kind == "pause" else "requeue") if done else ""
    if files:
        message = f"{wording.count(len(files), 'file')} {would}queued again{left}"
    elif scopes:
        who = wording.named(["all nodes" if scope == "*" else scope for scope in scopes])
        message = f"{who} {would}resumed{left}"
    elif kind in ("cleanup", "cancel", "pause"):
        message = f"nothing of act {act} is left to undo"
    else:
        message = f"act {act} cannot be undone: only a cleanup, a cancel and a pause can"
    return Undo(act, kind, how, tuple(files), tuple(scopes), kept, message)
