"""The node registry: which nodes are alive, their boots and epochs, and the states that operators give them."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from opskit._version import __version__
from opskit.database import Database
from opskit.database.session import Row
from opskit.errors import SettingError, UnknownNodeError
from opskit.queue.lanes import Route
from opskit.queue.readiness import demand_standing
from opskit.queue.server_id import Boot
from opskit.support import notebook_output

MOST_DAYS = 36_500
"""The longest age that `prune` can be told [days]."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The result of a heartbeat.

    Attributes:
        state: What the node shall do: active, draining or quarantined.
        holds: Whether the claim that its child works on is still its own.
        others: Whether there are claims beside it: only then is there anything to reap.
        paused: Whether claiming is paused, for this node or for all.
        cancel_token: The claim whose cancellation was asked for last; "" when none was.
    """

    state: str
    holds: bool
    others: bool
    paused: bool
    cancel_token: str


def register(db: Database, server_id: str, boot: str) -> Boot | None:
    """Register a new boot of a server ID.

    Returns:
        The boot with its epoch, or None while the ID is alive elsewhere (`alive` says where).

    Raises:
        NotMigratedError: The table is not migrated, or by half: no promise could be kept.

    SQL: sql/register.sql
    """
    db.writing()
    demand_standing(db)
    settings = db.settings
    rows = db.run(
        "register",
        server_id=server_id,
        boot=boot,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        lease_seconds=settings.lease_seconds,
        on_orphan=settings.on_orphan,
        max_failures=settings.max_failures,
        stale_after_seconds=settings.stale_after_seconds,
        lanes=Route.of(settings).as_json(),
    )
    return Boot(server_id, boot, rows[0]["epoch"]) if rows else None


def alive(db: Database, server_id: str) -> Row | None:
    """The node that holds a server ID: host, pid, started_at, lease_left_seconds; None when it is unknown.

    SQL: sql/alive.sql
    """
    rows = db.run("alive", server_id=server_id)
    return rows[0] if rows else None


def heartbeat(
    db: Database,
    node: Boot,
    *,
    token: str = "",
    done: int | None = None,
    total: int | None = None,
    progress_age_seconds: float | None = None,
    memory_bytes: int | None = None,
) -> Heartbeat | None:
    """Renew a node's lease and send its progress, and the memory that its processes take.

    Returns:
        What the node must know, or None when another boot has taken its place: it is deposed.

    SQL: sql/heartbeat.sql
    """

    def optional(value: float | None) -> object:
        return "" if value is None else value

    rows = db.run(
        "heartbeat",
        server_id=node.server_id,
        boot=node.boot,
        token=token,
        progress_done=optional(done),
        progress_total=optional(total),
        progress_age_seconds=optional(progress_age_seconds),
        memory_bytes=optional(memory_bytes),
    )
    if not rows:
        return None
    row = rows[0]
    return Heartbeat(
        state=row["state"],
        holds=row["holds"],
        others=row["others"],
        paused=row["paused"],
        cancel_token=row["cancel_token"] or "",
    )


def advance(db: Database, node: Boot) -> int | None:
    """Raise a node's epoch once its claims in flight have landed; None when it is deposed.

    SQL: sql/advance.sql
    """
    rows = db.run("advance", server_id=node.server_id, boot=node.boot)
    return rows[0]["epoch"] if rows else None


def deregister(db: Database, node: Boot, reason: str) -> None:
    """Deregister a node: its lease ends now.

    SQL: sql/deregister.sql
    """
    db.run("deregister", server_id=node.server_id, boot=node.boot, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Resumption:
    """The result of a resume; true when it changed anything.

    Attributes:
        scope: A server ID, or "*" for all.
        unpaused: Whether a pause of that scope was ended.
        cured: The nodes that left quarantine.
        closed: Whether the breaker was open, and is closed.
        held: What still pauses them: after "*" the nodes that are paused by name, after a name "*" if all are paused.
    """

    scope: str
    unpaused: bool
    cured: tuple[str, ...]
    held: tuple[str, ...]
    closed: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything changed."""
        return self.unpaused or bool(self.cured) or self.closed

    def __bool__(self) -> bool:
        return self.changed

    @property
    def message(self) -> str:
        """What it did, as a sentence."""
        who = "every node" if self.scope == "*" else self.scope
        return f"{who} {'is resumed' if self.changed else 'was not paused'}{self.more}"

    def __repr__(self) -> str:
        return self.message

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        return notebook_output.sentences(self.message)

    @property
    def more(self) -> str:
        """The end of the sentence after "resumed" or "was not paused"; often empty."""
        phrases = []
        if self.cured:
            left = f"{_listed(self.cured)} left quarantine"
            phrases.append(left if self.unpaused or self.scope != "*" else f"{left}; there was no pause of all")
        if self.closed:
            phrases.append("the breaker is closed")
        if self.held == ("*",):
            phrases.append("all nodes are paused still")
        elif self.held:
            phrases.append(f"{_listed(self.held)} {'stay' if len(self.held) > 1 else 'stays'} paused by name")
        return "".join(f"; {phrase}" for phrase in phrases)


def resumption(db: Database, scope: str = "*", *, actor: str = "", reason: str = "") -> Resumption:
    """Resume one node, or with "*" all, as `resume` does; returns what that did.

    Raises:
        UnknownNodeError: There is no such node.

    SQL: sql/resume.sql
    """
    db.writing()
    row = db.one("resume", scope=scope, actor=actor or db.actor, reason=reason)
    refuse_unknown(row)
    return Resumption(
        scope=scope, unpaused=row["unpaused"], cured=tuple(row["cured"]), held=tuple(row["held"]), closed=row["closed"]
    )


def refuse_unknown(row: Row) -> None:
    """Raise UnknownNodeError where a statement says that it knows no such node."""
    if row["refused"]:
        raise UnknownNodeError(f"{row['refused']}; opskit stats nodes lists them")


def _listed(names: tuple[str, ...]) -> str:
    """Up to five names, the rest counted."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def spare(db: Database) -> None:
    """After an outage, give every silent node a whole lease to return before it is judged.

    SQL: sql/spare.sql
    """
    db.run("spare")


def may_prune(db: Database) -> bool:
    """Whether this role may delete what `prune` deletes.

    SQL: sql/may_prune.sql
    """
    return bool(db.one("may_prune")["may"])


def prune(
    db: Database, *, node_days: float = 7, event_days: float = 90, log_days: float | None = None
) -> dict[str, Any]:
    """Drop nodes that are silent for long and hold nothing, old events and old logs; returns how many of each.

    Args:
        db: An open database.
        node_days: Silence after which a node's row goes [days], 0 to `MOST_DAYS`.
        event_days: Age after which an event goes [days], 0 to `MOST_DAYS`.
        log_days: Age after which the output of an attempt goes [days]. Defaults to the setting.

    Raises:
        SettingError: One of them is no such number of days; nothing was dropped.
        DatabaseError: This role may not delete.
        ForbiddenError: The database is read-only.

    SQL: sql/prune.sql
    """
    db.writing()
    kept = {
        "node_days": node_days,
        "event_days": event_days,
        "log_days": db.settings.log_days if log_days is None else log_days,
    }
    for name, days in kept.items():
        if not 0 <= days <= MOST_DAYS:  # less than 0 would be all that there is
            raise SettingError(f"{name} is {days:g}; it must be between 0 and {MOST_DAYS:,} days")
    return db.one("prune", **kept)
