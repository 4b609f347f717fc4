"""What the API takes and answers, as its document describes it.

The models of what it takes judge it; those of what it answers only describe it, and `tests/web/test_api_schema.py`
compares them with the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

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
    failed: bool = Field(default=False, description="Every failed file that error and serverId let through.")
    error: Text = Field(default="", description="Only failed files whose error, as /failures groups it, is this.")
    server_id: Text = Field(default="", description="Only failed files of this server.")
    cancelled: bool = Field(default=False, description="With failed: those that were cancelled, too.")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="Most files.")


class CancelBody(_Body):
    """What to cancel: ids, or every file that is queued or in processing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["17"], "reason": "wrong customer"}]})

    ids: list[Id] = Field(default=[], description="These files, queued or in processing.")
    every: bool = Field(default=False, description="Every file that status, serverId and search let through.")
    status: Literal["", "queued", "processing"] = Field(default="", description="Only files in this state.")
    server_id: Text = Field(default="", description="Only files in processing on this server.")
    search: Text = Field(default="", description="Only files whose name contains this, in any case.")
    limit: int = Field(default=10_000, ge=1, le=100_000, description="Most files.")
    dry_run: bool = Field(default=False, description="Change nothing; answer what would be cancelled.")


class ExpediteBody(_Body):
    """Which files get a head start."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["17"], "aheadSeconds": 7200}]})

    ids: list[Id] = Field(min_length=1, description="These files; those that are not queued are left alone.")
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


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Error(_Answer):
    """What went wrong."""

    error: str = Field(description="One sentence.")


class Longest(_Answer):
    """The file that is in processing for longest."""

    filename: str | None
    server_id: str | None
    started_at: datetime | None
    duration_minutes: float | None


class Concurrency(_Answer):
    """The numbers of the moment."""

    total_files: int = Field(description="Files with a status, deleted ones excluded.")
    processing_by_server: dict[str, int] = Field(description="Files in processing.")
    stale_processing_files: int = Field(description="Claims without progress for too long.")
    server_id: str = Field(description="Of this process.")
    timestamp: datetime = Field(description="By the database's clock.")
    environment: str
    by_status: dict[str, int]
    by_server: dict[str, dict[str, int]] = Field(description="Files of each server in each state.")
    oldest_queued_seconds: float | None = Field(description="Age of the oldest queued file [s]; null when none is.")
    orphaned_files: int = Field(description="Claims of dead or rebooted nodes.")
    active_servers: int = Field(description="Nodes whose lease runs.")
    waiting_files: int = Field(description="Rows without a status, not opskit's yet.")
    all_paused: bool
    counted_at: datetime = Field(
        description="When what has ended was counted: at most a minute or two ago where that takes long, else now."
    )
    breaker: str | SkipJsonSchema[None] = Field(
        default=None, description="The error of the world that keeps every node from claiming; absent when none does."
    )
    longest_processing_file: Longest | SkipJsonSchema[None] = Field(
        default=None, description="Absent when nothing is processing."
    )


class Forecast(_Answer):
    """When the queue will be empty."""

    queued: int
    due: int = Field(description="Of them: may be claimed now; the others wait for a retry.")
    came_minute: int = Field(description="Files that came into the queue in the last minute, at most 10,000.")
    came_five_minutes: int
    came_quarter_hour: int
    ended_minute: int = Field(description="Files that completed or failed in the last minute, at most 10,000.")
    ended_five_minutes: int
    ended_quarter_hour: int
    came_per_minute: float | None = Field(description="The rate that counts; null: too early to tell.")
    ended_per_minute: float | None = Field(description="The rate that counts; null: too early to tell.")
    change_per_minute: float | None = Field(description="Below 0 the queue shrinks.")
    verdict: Literal["empty", "emptying", "growing", "steady", "standing", "unknown"]
    empty_in_seconds: float | None = Field(description="[s]; null unless it is empty or emptying.")
    as_of: datetime


class LogChunk(_Answer):
    """A piece of what an attempt has said."""

    attempt: int = Field(description="Which attempt, from 1.")
    token: str = Field(description="Its claim.")
    server_id: str | None = Field(description="The node.")
    sequence: int = Field(description="Place of its first byte in all that the attempt has said [bytes].")
    at: datetime = Field(description="When it was kept.")
    text: str
    size: int = Field(description="[bytes]")
    left_out: int = Field(description="What is not kept before it [bytes].")


class Logs(_Answer):
    """What the attempts at a file have said."""

    chunks: list[LogChunk]
    next: str = Field(description="Where to go on: the next call's `after`.")


class File(_Answer):
    """One file as it stands now."""

    id: str
    original_filename: str | None
    storage_path: str | None
    file_size: int | None = Field(description="[bytes]")
    uploaded_at: datetime | None
    processing_status: str | None
    processing_server_id: str | None
    processing_queued_at: datetime | None = Field(
        description="Its place in the queue; a head start lets it be earlier."
    )
    processing_arrived_at: datetime | None = Field(description="When it came, where it has a head start.")
    processing_started_at: datetime | None
    processing_completed_at: datetime | None
    processing_attempt: int | None
    processing_failures: int
    processing_errors: str | None
    processing_result: Any = Field(description="What its processor answered.")
    deleted: bool


class Memory(_Answer):
    """Memory of this process."""

    rss: int = Field(description="[bytes]")


class Counts(_Answer):
    """What a server ID has done."""

    processing: int
    completed: int
    failed: int


class ServerInfo(_Answer):
    """What this process is."""

    server_id: str
    short_server_id: str
    hostname: str
    platform: str
    architecture: str
    python_version: str
    process_id: int
    environment: str
    uptime: float = Field(description="[s]")
    memory_usage: Memory
    version: str
    table: str
    stats: Counts


class Finding(_Answer):
    """Something that the doctor has found."""

    level: str
    what: str
    why: str
    mend: str
    check: str
    condition: str = Field(description="What it is about; its runbook has this name.")
    concerns: list[str] = Field(
        description="Whom it names: server IDs, `*` for all nodes, or the error that files fail with."
    )


class EndedFile(_Answer):
    """A file whose claim was ended, or waits for a second look."""

    id: str
    filename: str | None
    server_id: str | None
    started_at: datetime | None
    outcome: str
    reason: str | None


class Cleaned(_Answer):
    """What a cleanup did."""

    success: bool
    cleaned_files: int
    message: str
    files: list[EndedFile]
    pending: list[EndedFile] = Field(description="These need a second look, at least 2 s later.")
    skipped: list[str] = Field(description="Claims asked for that had moved on.")


class RequeuedFile(_Answer):
    """A file that is queued again."""

    id: str
    filename: str | None
    server_id: str | None
    started_at: datetime | None
    was: str


class Requeued(_Answer):
    """What a requeue did."""

    success: bool
    requeued_files: int
    message: str
    files: list[RequeuedFile]


class CancelledFile(_Answer):
    """A file that was cancelled, or is to be."""

    id: str
    filename: str | None
    server_id: str | None
    started_at: datetime | None
    was: str
    outcome: str = Field(
        description="failed; asked: its node kills the processor and ends it; kept or busy: not cancelled, as the "
        "reason says; queued or processing: what a dry run leaves as it is."
    )
    reason: str | None


class Cancelled(_Answer):
    """What a cancel did, or would do."""

    success: bool
    cancelled_files: int
    message: str
    files: list[CancelledFile]
    skipped: list[str] = Field(description="Files asked for that are neither queued nor in processing.")


class ExpeditedFile(_Answer):
    """A file that has a head start."""

    id: str
    filename: str | None
    arrived_at: datetime | None = Field(description="When it came.")
    place: datetime | None = Field(description="Its place in the queue.")


class Expedited(_Answer):
    """What an expedite did."""

    success: bool
    expedited_files: int
    message: str
    files: list[ExpeditedFile]


class Changed(_Answer):
    """What a pause or its end did."""

    success: bool
    server_id: str
    changed: bool = Field(description="False when it was so already.")
    message: str


class Resumed(Changed):
    """What a resume did."""

    left_quarantine: list[str] = Field(description="Nodes that left quarantine.")
    still_paused: list[str] = Field(description='What still pauses them: nodes paused by name, or "*" for all.')


class Forgotten(_Answer):
    """Which nodes were forgotten."""

    success: bool
    forgotten: list[str]
    kept: list[str] = Field(description="Alive, with a file in hand, or unknown.")
    message: str


class UploadedFile(_Answer):
    """A file that was sent."""

    id: str | None = Field(description="Null for a duplicate that was not queued.")
    filename: str
    file_size: int = Field(description="[bytes]")
    sha256: str
    duplicate_of: str | None = Field(description="Id of the file with the same bytes that was there already.")


class Uploaded(_Answer):
    """What became of an upload."""

    success: bool
    queued_files: int
    duplicate_files: int
    message: str
    files: list[UploadedFile]


class Health(_Answer):
    """Whether the database is reachable and migrated."""

    status: str = Field(description="ok, not migrated or unavailable.")
    environment: str
    version: str
    server_id: str


class Illness(Health):
    """Why it is not."""

    error: str = Field(description="One sentence.")


Responses = dict[int | str, dict[str, Any]]
NEXT_PAGE = {
    "Link": {
        "description": 'Where the next rows are, rel="next"; absent on the last page.',
        "schema": {"type": "string"},
    }
}
"""The header of an answer that comes in pages."""
_KINDS: dict[str, dict[str, str]] = {
    "string": {"type": "string"},
    "Int64": {"type": "integer"},
    "Float64": {"type": "number"},
    "boolean": {"type": "boolean"},
    "datetime64[us, UTC]": {"type": "string", "format": "date-time"},
}


def rows(columns: Mapping[str, str], *, pages: bool = False) -> Responses:
    """An answer of rows, described by its frame's columns and dtypes; each value may be null."""
    properties = {to_camel(name): {"anyOf": [_KINDS[dtype], {"type": "null"}]} for name, dtype in columns.items()}
    row = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    content = {"application/json": {"schema": {"type": "array", "items": row}}}
    return {200: {"content": content, "headers": NEXT_PAGE} if pages else {"content": content}}


def described(model: type[BaseModel], status: int = 200) -> Responses:
    """An answer, described by a model."""
    return {status: {"model": model, "description": (model.__doc__ or "").splitlines()[0]}}


def errors(sentences: Mapping[int, str]) -> Responses:
    """The errors that a call may be answered with, by status."""
    return {status: {"model": Error, "description": sentence} for status, sentence in sentences.items()}


READING_ERRORS = errors(
    {
        400: "A value cannot be used.",
        422: "A parameter is not what it should be.",
        500: "Something else went wrong; the log says what.",
        503: "The database is away, or not migrated.",
    }
)
WRITING_ERRORS = READING_ERRORS | errors(
    {
        401: "The token is missing or wrong.",
        403: "This caller may change nothing here.",
        404: "There is no such node.",
        413: "The request is too large.",
    }
)
