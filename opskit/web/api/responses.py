"""What the API answers. These models only describe it; tests/web/test_api_schema.py compares them with the answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema


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
    """The output of a file's attempts."""

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
    """The counts of a server ID."""

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
    """The result of a cleanup."""

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
    """The result of a requeue."""

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
    """The result of a cancel, or of its preview."""

    success: bool
    cancelled_files: int
    message: str
    files: list[CancelledFile]
    skipped: list[str] = Field(description="Files asked for that are neither queued nor in processing.")


class Undone(_Answer):
    """The result of an undo, or of its preview."""

    success: bool
    act: int
    kind: str = Field(description="What the act was.")
    how: Literal["", "requeue", "resume"] = Field(description="Empty: nothing of it can be undone any more.")
    files: list[RequeuedFile] = Field(description="Queued again.")
    resumed: list[str] = Field(description='Nodes that are resumed, or "*" for all.')
    kept: int = Field(description="Files or pauses left as they are, because something has happened since.")
    message: str


class ExpeditedFile(_Answer):
    """A file that has a head start, or is to have one."""

    id: str
    filename: str | None
    arrived_at: datetime | None = Field(description="When it came.")
    place: datetime | None = Field(description="Its place in the queue.")


class Expedited(_Answer):
    """The result of an expedite, or of its preview."""

    success: bool
    expedited_files: int
    message: str
    files: list[ExpeditedFile]


class Changed(_Answer):
    """The result of a pause or of its end."""

    success: bool
    server_id: str
    changed: bool = Field(description="False when it was so already.")
    message: str


class Resumed(Changed):
    """The result of a resume."""

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
    """The result of an upload."""

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
