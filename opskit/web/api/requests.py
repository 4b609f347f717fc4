"""What the API takes: texts, ids and the bodies of its writing calls. A model that refuses a value answers 422."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from opskit.queue.expediting import LONGEST_SECONDS


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be stored")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("half a surrogate pair cannot be stored")
    return text


Text = Annotated[str, AfterValidator(_storable), Field(json_schema_extra={"pattern": r"^[^\x00]*$"})]
"""Any text that PostgreSQL stores."""
Id = Annotated[
    str,
    Field(coerce_numbers_to_str=True),
    AfterValidator(_storable),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^[^\x00]*$"}, {"type": "integer"}]}),
]
"""A file's id, as text or, where ids are numbers, as a number."""
Status = Literal["", "queued", "processing", "completed", "failed", "none"]
"""Which files are asked for; none: those without a status."""
Kind = Literal[
    "",
    "attempt",
    "requeue",
    "cancel",
    "expedite",
    "pause",
    "resume",
    "state",
    "boot",
    "stop",
    "adopt",
    "migrate",
    "watch",
    "breaker",
    "forget",
]
"""Which events are asked for."""


class _Body(BaseModel):
    # A key that nobody knows is refused: {"serverID": "node-a"} must not pause all nodes.
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    reason: Text = Field(default="", max_length=1000, description="Why, for the history.")


class CleanupBody(_Body):
    """What to clean up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "node-b lost its disk"}]})

    claims: list[Text] = Field(default=[], description="Only these, as /stale names them.")
    server_id: Text = Field(default="", description="Only this server's.")


class RequeueBody(_Body):
    """What to queue again: ids, or failed files."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"failed": True, "reason": "parser mended"}]})

    ids: list[Id] = Field(default=[], description="These files, failed or completed.")
    failed: bool = Field(default=False, description="Every failed file that error, serverId and lane let through.")
    error: Text = Field(default="", description="Only failed files whose error, as /failures groups it, is this.")
    server_id: Text = Field(default="", description="Only failed files of this server.")
    lane: Text = Field(default="", description="Only failed files of this lane; (none): without one.")
    cancelled: bool = Field(default=False, description="With failed: those that were cancelled, too.")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="Most files.")


class CancelBody(_Body):
    """What to cancel: ids, or every file that is queued or in processing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["17"], "reason": "wrong customer"}]})

    ids: list[Id] = Field(default=[], description="These files, queued or in processing.")
    every: bool = Field(default=False, description="Every file that status, serverId, search and lane let through.")
    status: Literal["", "queued", "processing"] = Field(default="", description="Only files in this state.")
    server_id: Text = Field(default="", description="Only files in processing on this server.")
    search: Text = Field(default="", description="Only files whose name contains this, in any case.")
    lane: Text = Field(default="", description="Only files of this lane; (none): without one.")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="Most files.")
    dry_run: bool = Field(default=False, description="Change nothing; answer what would be cancelled.")


class ExpediteBody(_Body):
    """Which files get a head start: ids, or every queued file."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["17"], "aheadSeconds": 7200}]})

    ids: list[Id] = Field(default=[], description="These files; those that are not queued are left alone.")
    every: bool = Field(
        default=False,
        description="Every queued file that search and lane let through and that has no such head start.",
    )
    search: Text = Field(default="", description="Only files whose name contains this, in any case.")
    lane: Text = Field(default="", description="Only files of this lane; (none): without one.")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="Most files.")
    dry_run: bool = Field(default=False, description="Change nothing; answer what would be moved.")
    ahead_seconds: float = Field(
        default=3600,
        strict=True,
        ge=0,
        le=LONGEST_SECONDS,
        description="The head start before their arrival [s]; 0 takes one back.",
    )


class ScopeBody(_Body):
    """Whom to pause or resume."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"serverId": "node-a", "reason": "new kernel"}]})

    server_id: Text = Field(default="*", min_length=1, max_length=100, description="A node, or * for all.")


class ForgetBody(_Body):
    """Which nodes to forget."""

    server_ids: list[Text] = Field(min_length=1, max_length=1000, description="Nodes that have stopped or died.")


class UndoBody(_Body):
    """Which act to undo."""

    act: int = Field(ge=1, le=2**53 - 1, description="Its number, as /acts gives it.")
    dry_run: bool = Field(default=False, strict=True, description="Only say what would be undone.")
