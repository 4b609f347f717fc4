"""Control of nodes: pause, resume, drain and forget."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from opskit.database import Database
from opskit.errors import UnknownNodeError
from opskit.queue.nodes import Resumption, refuse_unknown, resumption
from opskit.support import notebook_output


@dataclass(frozen=True, slots=True, repr=False)
class Change:
    """The result of an act on a node; true when it changed anything.

    Attributes:
        changed: Whether it did.
        message: The same as a sentence.
    """

    changed: bool
    message: str

    def __bool__(self) -> bool:
        return self.changed

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.sentences(self.message)


def drain(db: Database, server_id: str, *, actor: str = "", reason: str = "") -> Change:
    """Tell a node to finish its file and stop.

    Args:
        db: An open database.
        server_id: The node.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Raises:
        UnknownNodeError: There is no such running node.

    SQL: sql/set_state.sql
    """
    db.writing()
    if not db.run("set_state", server_id=server_id, state="draining", actor=actor or db.actor, reason=reason):
        raise UnknownNodeError(f"there is no running node {server_id!r}; opskit stats nodes lists them")
    return Change(True, f"{server_id} finishes its file and stops ({db.settings.env})")


def forget(db: Database, server_ids: Collection[str], *, actor: str = "", reason: str = "") -> list[str]:
    """Forget nodes that are gone: their rows are dropped; the history keeps what they were.

    Args:
        db: An open database.
        server_ids: The nodes; those that are alive or hold a file are left alone.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Returns:
        The nodes that are forgotten.

    Raises:
        ForbiddenError: The database is read-only.
        DatabaseUnavailableError: No answer: perhaps it was done.

    SQL: sql/forget.sql
    """
    db.writing()
    rows = db.run("forget", server_ids=list(server_ids), actor=actor or db.actor, reason=reason)
    return [row["server_id"] for row in rows]


def pause(db: Database, scope: str = "*", *, actor: str = "", reason: str = "") -> Change:
    """Pause one node, or all with "*": no claim that begins after this is committed; work in hand goes on.

    Args:
        db: An open database.
        scope: A server ID, or "*" for all nodes.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Returns:
        What changed; it is true when anything did, false when it was paused already.

    Raises:
        UnknownNodeError: There is no such node.

    SQL: sql/pause.sql
    """
    db.writing()
    row = db.one("pause", scope=scope, actor=actor or db.actor, reason=reason)
    refuse_unknown(row)
    changed = bool(row["changed"])
    who = "every node" if scope == "*" else scope
    return Change(changed, f"{who} {'is paused' if changed else 'was paused already'} ({db.settings.env})")


def resume(db: Database, scope: str = "*", *, actor: str = "", reason: str = "") -> Resumption:
    """Resume one node, or with "*" all: ends the pause of that scope, and the quarantine of the nodes it names.

    A node that is paused by name stays paused when all are resumed.

    Args:
        db: An open database.
        scope: A server ID, or "*" for all nodes.
        actor: Who does it, for the history. Defaults to the connection's.
        reason: Why, for the history.

    Returns:
        What changed; it is true when anything did.

    Raises:
        UnknownNodeError: There is no such node.

    SQL: sql/resume.sql
    """
    return resumption(db, scope, actor=actor, reason=reason)
