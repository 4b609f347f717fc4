"""The columns of each statistic and their dtypes: the same whatever the rows, and when there are none."""

from __future__ import annotations

TIME = "datetime64[us, UTC]"
DISTRIBUTION = {"processing_server_id": "string", "processing_status": "string", "file_count": "Int64"}
CONCURRENCY = {
    "total_files": "Int64",
    "queued": "Int64",
    "processing": "Int64",
    "completed": "Int64",
    "failed": "Int64",
    "waiting_files": "Int64",
    "stale_files": "Int64",
    "orphaned_files": "Int64",
    "active_servers": "Int64",
    "claiming_nodes": "Int64",
    "quarantined_nodes": "Int64",
    "oldest_queued_seconds": "Float64",
    "all_paused": "boolean",
    "breaker": "string",
    "as_of": TIME,
    "counted_at": TIME,
}
LANES = {
    "lane": "string",
    "queued": "Int64",
    "due": "Int64",
    "processing": "Int64",
    "oldest_queued_seconds": "Float64",
}
LONGEST_RUNNING = {
    "original_filename": "string",
    "processing_server_id": "string",
    "processing_started_at": TIME,
    "minutes_processing": "Float64",
}
STALE = {
    "id": "string",
    **LONGEST_RUNNING,
    "minutes_without_progress": "Float64",
    "seconds_since_heartbeat": "Float64",
    "processing_attempt": "Int64",
    "processing_failures": "Int64",
    "verdict": "string",
    "would_become": "string",
    "claim": "string",
}
NODES = {
    "server_id": "string",
    "state": "string",
    "original_filename": "string",
    "minutes_processing": "Float64",
    "progress_done": "Int64",
    "progress_total": "Int64",
    "beat_at": TIME,
    "seconds_since_heartbeat": "Float64",
    "started_at": TIME,
    "host": "string",
    "pid": "Int64",
    "version": "string",
    "file_id": "string",
    "lanes": "string",
    "lane": "string",
}
NODE_WORK = {
    "server_id": "string",
    "completed": "Int64",
    "failed": "Int64",
    "bad_attempts": "Int64",
    "last_error": "string",
    "last_error_at": TIME,
}
THROUGHPUT = {
    "bucket_start": TIME,
    "processing_status": "string",
    "processing_server_id": "string",
    "file_count": "Int64",
    "mean_wait_seconds": "Float64",
    "mean_run_seconds": "Float64",
}
FAILURES = {
    "error": "string",
    "message": "string",
    "place": "string",
    "file_count": "Int64",
    "last_hour": "Int64",
    "last_day": "Int64",
    "last_week": "Int64",
    "latest": TIME,
    "earliest": TIME,
    "example": "string",
}
FILES = {
    "id": "string",
    "original_filename": "string",
    "processing_status": "string",
    "processing_server_id": "string",
    "last_at": TIME,
    "file_size": "Int64",
    "processing_attempt": "Int64",
    "processing_failures": "Int64",
    "processing_errors": "string",
    "lane": "string",
}
EVENTS = {
    "id": "Int64",
    "at": TIME,
    "kind": "string",
    "outcome": "string",
    "next_status": "string",
    "file_id": "string",
    "server_id": "string",
    "attempt": "Int64",
    "started_at": TIME,
    "reason": "string",
    "actor": "string",
    "token": "string",
}
TIMELINE = {
    "kind": "string",
    "server_id": "string",
    "file_id": "string",
    "original_filename": "string",
    "attempt": "Int64",
    "started_at": TIME,
    "ended_at": TIME,
    "outcome": "string",
    "followed": "string",
    "cleaned": "boolean",
    "overlaps": "boolean",
    "reason": "string",
    "actor": "string",
}
EVIDENCE = {
    "claim": "string",
    "server_id": "string",
    "moved_at": TIME,
    "progress_done": "Int64",
    "progress_total": "Int64",
    "beat_at": TIME,
    "lease_until": TIME,
    "lease_seconds": "Float64",
    "stale_after_seconds": "Float64",
    "host": "string",
    "pid": "Int64",
    "stopped_at": TIME,
    "booted_at": TIME,
    "suspected_at": TIME,
    "sessions": "Int64",
}
FORECAST = {
    "queued": "Int64",
    "due": "Int64",
    "came_minute": "Int64",
    "came_five_minutes": "Int64",
    "came_quarter_hour": "Int64",
    "ended_minute": "Int64",
    "ended_five_minutes": "Int64",
    "ended_quarter_hour": "Int64",
    "came_per_minute": "Float64",
    "ended_per_minute": "Float64",
    "change_per_minute": "Float64",
    "verdict": "string",
    "empty_in_seconds": "Float64",
    "as_of": TIME,
}
LOGS = {
    "attempt": "Int64",
    "token": "string",
    "server_id": "string",
    "sequence": "Int64",
    "at": TIME,
    "text": "string",
    "size": "Int64",
    "left_out": "Int64",
}
PAUSES = {"scope": "string", "at": TIME, "actor": "string", "reason": "string", "kind": "string"}
