"""Control of nodes: pause, resume and drain."""

from __future__ import annotations

from opskit.database import Database
from opskit.errors import UnknownNodeError
from opskit.queue.nodes import refuse_unknown, resumption


def drain(db: Database, server_id: str, *, actor: str, reason: str = "") -> None:
    """Tell a node to finish its file and stop.

    Raises:
        UnknownNodeError: There is no such running node.

    SQL: sql/set_state.sql
    """
    db.writing()
    if not db.run("set_state", server_id=server_id, state="draining", actor=actor, reason=reason):
        raise UnknownNodeError(f"there is no running node {server_id!r}; opskit stats nodes lists them")


def pause(db: Database, scope: str = "*", *, actor: str, reason: str = "") -> bool:
    """Pause one node, or all with "*": no claim that begins after this is committed; work in hand goes on.

    Returns:
        Whether anything changed: False when it was paused already.

    Raises:
        UnknownNodeError: There is no such node.

    SQL: sql/pause.sql
    """
    db.writing()
    row = db.one("pause", scope=scope, actor=actor, reason=reason)
    refuse_unknown(row)
    return bool(row["changed"])


def resume(db: Database, scope: str = "*", *, actor: str, reason: str = "") -> bool:
    """Resume one node, or with "*" all: ends the pause of that scope, and the quarantine of the nodes it names.

    A node that is paused by name stays paused when all are resumed.

    Returns:
        Whether anything changed; `resumption` says what.

    Raises:
        UnknownNodeError: There is no such node.

    SQL: sql/resume.sql
    """
    return resumption(db, scope, actor=actor, reason=reason).changed
