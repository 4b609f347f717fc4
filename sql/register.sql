-- Register a node: a new boot of a server ID. Answers its epoch, or no row while the ID is alive elsewhere.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=by-hand -v boot=$(uuidgen) -v host=$(hostname) -v pid=0 \
--      -v version=psql -v lease_seconds=600 -v on_orphan=requeue -v max_failures=3 -v stale_after_seconds=3600 \
--      -f sql/register.sql
--
-- server_id, boot            the node's name, and a uuid made when its process starts
-- host, pid, version         where it runs, for people
-- lease_seconds              how long it counts as alive after a heartbeat
-- lanes                      which lanes it takes: {"only": [...], "except": [...]}; '{}' or nothing: all
-- on_orphan, max_failures, stale_after_seconds   its policy: every door judges its claims by these
--
-- A node without a row begins above what its ID still holds: a row that was removed must not make an orphan look owned.
-- The epoch is part of a unique key, so raising it waits for a claim in flight (claim.sql holds FOR KEY SHARE);
-- what the old boot then still holds has an epoch below first_epoch and belongs to an earlier boot.
\ir _session.sql
\if :{?lanes} \else \set lanes {} \endif
WITH registered AS (
    INSERT INTO :"nodes" AS n (server_id, boot, host, pid, version, started_at, beat_at, lease_until, lease_seconds,
                               on_orphan, max_failures, stale_after_seconds, lanes, epoch, first_epoch, paused)
    SELECT :'server_id', :'boot'::uuid, :'host', :'pid'::int, :'version', clock_timestamp(), clock_timestamp(),
           clock_timestamp() + :'lease_seconds'::float8 * interval '1 second', :'lease_seconds'::float8,
           :'on_orphan', :'max_failures'::int, :'stale_after_seconds'::float8, nullif(nullif(:'lanes', '')::jsonb, '{}'), first.epoch, first.epoch,
           EXISTS (SELECT FROM :"pauses" WHERE scope IN ('*', :'server_id') OR scope = ' breaker' AND closed_at IS NULL)
      FROM (SELECT coalesce(max(processing_epoch), 0) + 1 AS epoch FROM :"files"
             WHERE processing_status = 'processing' AND processing_server_id = :'server_id') AS first
    ON CONFLICT (server_id) DO UPDATE
       SET boot = excluded.boot, host = excluded.host, pid = excluded.pid, version = excluded.version,
           started_at = excluded.started_at, beat_at = excluded.beat_at, lease_until = excluded.lease_until,
           lease_seconds = excluded.lease_seconds, on_orphan = excluded.on_orphan,
           max_failures = excluded.max_failures, stale_after_seconds = excluded.stale_after_seconds, lanes = excluded.lanes,
           epoch = n.epoch + 1, first_epoch = n.epoch + 1, stopped_at = NULL, paused = excluded.paused,
           -- A quarantine outlives a restart, its pause too: a probe ends it, or `opskit resume`.
           state = CASE n.state WHEN 'quarantined' THEN n.state ELSE 'active' END, streak_at = NULL,
           probe_at = CASE n.state WHEN 'quarantined' THEN coalesce(n.probe_at, clock_timestamp()
                                                                    + n.probe_seconds * interval '1 second') END,
           looked_lease = NULL, looked_at = NULL, stale_token = NULL, stale_at = NULL,
           token = NULL, progress_done = NULL, progress_total = NULL, progress_at = NULL, memory_bytes = NULL
     WHERE n.lease_until <= clock_timestamp() OR n.boot = excluded.boot
    RETURNING server_id, boot, epoch
), noted AS (
    INSERT INTO :"events" (kind, server_id, boot, reason, actor, details)
    SELECT 'boot', server_id, boot, 'registered by ' || :'host' || ', process ' || :'pid', server_id,
           pg_catalog.jsonb_build_object('version', :'version'::text) FROM registered
)
SELECT epoch FROM registered;
