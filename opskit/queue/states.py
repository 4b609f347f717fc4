"""The words of the database: states, outcomes, kinds of events and verdicts. Each is text, and compares as text."""

from __future__ import annotations

from enum import StrEnum


class FileState(StrEnum):
    """processing_status; a row without one is not opskit's."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class NodeState(StrEnum):
    """What a node is now, as sql/nodes.sql judges it."""

    LIVE = "live"
    PAUSED = "paused"
    DRAINING = "draining"
    QUARANTINED = "quarantined"
    SILENT = "silent"
    DEAD = "dead"
    STOPPED = "stopped"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    RAISED = "raised"
    CRASHED = "crashed"
    REJECTED = "rejected"
    TIMEOUT = "timeout"
    ORPHANED = "orphaned"
    INTERRUPTED = "interrupted"
    RELEASED = "released"
    DEFERRED = "deferred"
    CANCELLED = "cancelled"
    FAILED = "failed"


class EventKind(StrEnum):
    """The kind of an event of the history."""

    ATTEMPT = "attempt"
    REQUEUE = "requeue"
    CANCEL = "cancel"
    EXPEDITE = "expedite"
    PAUSE = "pause"
    RESUME = "resume"
    STATE = "state"
    BOOT = "boot"
    STOP = "stop"
    ADOPT = "adopt"
    MIGRATE = "migrate"
    WATCH = "watch"
    BREAKER = "breaker"
    FORGET = "forget"


class Verdict(StrEnum):
    """What the reaper says of a claim (sql/stale.sql, sql/cleanup.sql)."""

    ALIVE = "alive"
    UNPROVEN = "unproven"
    SILENT = "silent"
    STUCK = "stuck"
    STALE = "stale"
    HUNG = "hung"
    DEAD = "dead"
    REBOOTED = "rebooted"

    @property
    def is_well(self) -> bool:
        """Whether nothing speaks against the claim."""
        return self in (Verdict.ALIVE, Verdict.UNPROVEN)

    @property
    def needs_second_look(self) -> bool:
        """Whether a second look has to confirm it before cleanup ends the claim."""
        return self in (Verdict.SILENT, Verdict.STUCK)
