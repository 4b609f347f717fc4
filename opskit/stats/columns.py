"""The columns of each statistic: their dtypes, the same whatever the rows and when there are none, and their units."""

from __future__ import annotations


class Kind(str):
    """A column's dtype, and the unit of its values.

    Attributes:
        unit: Such as "s" or "files"; "" where the name says it or there is none.
    """

    __slots__ = ("unit",)
    unit: str

    def __new__(cls, dtype: str, unit: str = "") -> Kind:  # noqa: D102 -- the class says it
        kind = super().__new__(cls, dtype)
        kind.unit = unit
        return kind


TIME = Kind("datetime64[us, UTC]", "UTC")
TEXT = Kind("string")
FLAG = Kind("boolean")
NUMBER = Kind("Int64")
FILES_COUNT = Kind("Int64", "files")
NODES_COUNT = Kind("Int64", "nodes")
BYTES = Kind("Int64", "bytes")
SECONDS = Kind("Float64", "s")
MINUTES = Kind("Float64", "min")
SHARE = Kind("Float64", "0 to 1")
FILES_PER_MINUTE = Kind("Float64", "files/min")
DISTRIBUTION = {"processing_server_id": TEXT, "processing_status": TEXT, "file_count": FILES_COUNT}
CONCURRENCY = {
    "total_files": FILES_COUNT,
    "queued": FILES_COUNT,
    "processing": FILES_COUNT,
    "completed": FILES_COUNT,
    "failed": FILES_COUNT,
    "waiting_files": FILES_COUNT,
    "stale_files": FILES_COUNT,
    "orphaned_files": FILES_COUNT,
    "active_servers": NODES_COUNT,
    "claiming_nodes": NODES_COUNT,
    "quarantined_nodes": NODES_COUNT,
    "oldest_queued_seconds": SECONDS,
    "all_paused": FLAG,
    "breaker": TEXT,
    "as_of": TIME,
    "counted_at": TIME,
}
LANES = {
    "lane": TEXT,
    "queued": FILES_COUNT,
    "due": FILES_COUNT,
    "processing": FILES_COUNT,
    "oldest_queued_seconds": SECONDS,
}
LANE_WORK = {
    "lane": TEXT,
    "ended": FILES_COUNT,
    "completed": FILES_COUNT,
    "failed": FILES_COUNT,
    "mean_wait_seconds": SECONDS,
    "wait_p95_seconds": SECONDS,
    "mean_run_seconds": SECONDS,
    "run_seconds": SECONDS,
    "share": SHARE,
    "latest": TIME,
}
LONGEST_RUNNING = {
    "original_filename": TEXT,
    "processing_server_id": TEXT,
    "processing_started_at": TIME,
    "minutes_processing": MINUTES,
}
STALE = {
    "id": TEXT,
    **LONGEST_RUNNING,
    "minutes_without_progress": MINUTES,
    "seconds_since_heartbeat": SECONDS,
    "processing_attempt": NUMBER,
    "processing_failures": NUMBER,
    "verdict": TEXT,
    "would_become": TEXT,
    "claim": TEXT,
}
NODES = {
    "server_id": TEXT,
    "state": TEXT,
    "original_filename": TEXT,
    "minutes_processing": MINUTES,
    "progress_done": NUMBER,
    "progress_total": NUMBER,
    "beat_at": TIME,
    "seconds_since_heartbeat": SECONDS,
    "started_at": TIME,
    "host": TEXT,
    "pid": NUMBER,
    "version": TEXT,
    "memory_bytes": BYTES,
    "file_id": TEXT,
    "lanes": TEXT,
    "lane": TEXT,
}
NODE_WORK = {
    "server_id": TEXT,
    "completed": FILES_COUNT,
    "failed": FILES_COUNT,
    "bad_attempts": NUMBER,
    "last_error": TEXT,
    "last_error_at": TIME,
}
THROUGHPUT = {
    "bucket_start": TIME,
    "processing_status": TEXT,
    "processing_server_id": TEXT,
    "file_count": FILES_COUNT,
    "mean_wait_seconds": SECONDS,
    "mean_run_seconds": SECONDS,
}
TRENDS = {
    "bucket_start": TIME,
    "ended": FILES_COUNT,
    "failed": FILES_COUNT,
    "ended_before": FILES_COUNT,
    "wait_p50_seconds": SECONDS,
    "wait_p95_seconds": SECONDS,
    "run_p50_seconds": SECONDS,
    "run_p95_seconds": SECONDS,
}
MARKS = {
    "at": TIME,
    "kind": TEXT,
    "server_id": TEXT,
    "what": TEXT,
    "file_count": FILES_COUNT,
    "actor": TEXT,
    "reason": TEXT,
}
FAILURES = {
    "error": TEXT,
    "message": TEXT,
    "place": TEXT,
    "file_count": FILES_COUNT,
    "last_hour": FILES_COUNT,
    "last_day": FILES_COUNT,
    "last_week": FILES_COUNT,
    "latest": TIME,
    "earliest": TIME,
    "example": TEXT,
}
FILES = {
    "id": TEXT,
    "original_filename": TEXT,
    "processing_status": TEXT,
    "processing_server_id": TEXT,
    "last_at": TIME,
    "file_size": BYTES,
    "processing_attempt": NUMBER,
    "processing_failures": NUMBER,
    "processing_errors": TEXT,
    "lane": TEXT,
}
EVENTS = {
    "id": NUMBER,
    "at": TIME,
    "kind": TEXT,
    "outcome": TEXT,
    "next_status": TEXT,
    "file_id": TEXT,
    "server_id": TEXT,
    "attempt": NUMBER,
    "started_at": TIME,
    "reason": TEXT,
    "actor": TEXT,
    "token": TEXT,
}
ACTS = {
    "act": NUMBER,
    "at": TIME,
    "kind": TEXT,
    "actor": TEXT,
    "by_node": FLAG,
    "event_count": NUMBER,
    "file_count": FILES_COUNT,
    "files": TEXT,
    "server_ids": TEXT,
    "changed": TEXT,
    "reason": TEXT,
    "undo": TEXT,
}
TIMELINE = {
    "kind": TEXT,
    "server_id": TEXT,
    "file_id": TEXT,
    "original_filename": TEXT,
    "attempt": NUMBER,
    "started_at": TIME,
    "ended_at": TIME,
    "outcome": TEXT,
    "followed": TEXT,
    "cleaned": FLAG,
    "overlaps": FLAG,
    "reason": TEXT,
    "actor": TEXT,
}
EVIDENCE = {
    "claim": TEXT,
    "server_id": TEXT,
    "moved_at": TIME,
    "progress_done": NUMBER,
    "progress_total": NUMBER,
    "beat_at": TIME,
    "lease_until": TIME,
    "lease_seconds": SECONDS,
    "stale_after_seconds": SECONDS,
    "host": TEXT,
    "pid": NUMBER,
    "stopped_at": TIME,
    "booted_at": TIME,
    "suspected_at": TIME,
    "sessions": NUMBER,
}
FORECAST = {
    "queued": FILES_COUNT,
    "due": FILES_COUNT,
    "came_minute": FILES_COUNT,
    "came_five_minutes": FILES_COUNT,
    "came_quarter_hour": FILES_COUNT,
    "ended_minute": FILES_COUNT,
    "ended_five_minutes": FILES_COUNT,
    "ended_quarter_hour": FILES_COUNT,
    "came_per_minute": FILES_PER_MINUTE,
    "ended_per_minute": FILES_PER_MINUTE,
    "change_per_minute": FILES_PER_MINUTE,
    "verdict": TEXT,
    "empty_in_seconds": SECONDS,
    "as_of": TIME,
}
LOGS = {
    "attempt": NUMBER,
    "token": TEXT,
    "server_id": TEXT,
    "sequence": BYTES,
    "at": TIME,
    "text": TEXT,
    "size": BYTES,
    "left_out": BYTES,
}
PAUSES = {"scope": TEXT, "at": TIME, "actor": TEXT, "reason": TEXT, "kind": TEXT}
