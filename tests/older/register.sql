-- The same statement of that earlier version: its nodes register with it while the table is upgraded.
WITH registered AS (
    INSERT INTO :"nodes" AS n (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds,
                               on_orphan, max_failures, stale_after_seconds, epoch, first_epoch)
    SELECT :'server_id', :'boot'::uuid, :'host', :'pid'::int, :'version', clock_timestamp(), clock_timestamp(),
           clock_timestamp() + :'lease_seconds'::float8 * interval '1 second', :'lease_seconds'::float8,
           :'on_orphan', :'max_failures'::int, :'stale_after_seconds'::float8, first.epoch, first.epoch
      FROM (SELECT coalesce(max(processing_epoch), 0) + 1 AS epoch FROM :"files"
             WHERE processing_status = 'processing' AND processing_server_id = :'server_id') AS first
    ON CONFLICT (server_id) DO UPDATE
       SET boot = excluded.boot, host = excluded.host, pid = excluded.pid, version = excluded.version,
           started_at = excluded.started_at, beat_at = excluded.beat_at, lease_until = excluded.lease_until,
           lease_seconds = excluded.lease_seconds, on_orphan = excluded.on_orphan,
           max_failures = excluded.max_failures, stale_after_seconds = excluded.stale_after_seconds,
           epoch = n.epoch + 1, first_epoch = n.epoch + 1, stopped_at = NULL,
           -- A quarantine outlives a restart: only `opskit resume` ends it.
           state = CASE n.state WHEN 'quarantined' THEN n.state ELSE 'active' END,
           looked_lease = NULL, looked_at = NULL, stale_token = NULL, stale_at = NULL,
           token = NULL, progress_done = NULL, progress_total = NULL, progress_at = NULL
     WHERE n.lease_until <= clock_timestamp() OR n.boot = excluded.boot
    RETURNING server_id, boot, epoch
), noted AS (
    INSERT INTO :"events" (kind, server_id, boot, reason, actor)
    SELECT 'boot', server_id, boot, 'registered by ' || :'host' || ', process ' || :'pid', server_id FROM registered
)
SELECT epoch FROM registered;
