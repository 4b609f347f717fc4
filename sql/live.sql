-- The live numbers alone: what moves, through the partial indexes, in a few milliseconds however large the table is.
--
-- psql "$DATABASE_URL" -v env=development -f sql/live.sql
--
-- stale_after_seconds   as in cleanup.sql (default 3600)
--
-- active_servers are alive; claiming_nodes of them may claim: not paused, draining or in quarantine.
-- Exact, of this moment. ended.sql has the rest; concurrency.sql has both in one snapshot, and takes as long as counting
-- takes.
\ir _session.sql
\if :{?stale_after_seconds} \else \set stale_after_seconds 3600 \endif
WITH claims AS MATERIALIZED (
    SELECT f.deleted,
           CASE WHEN n.server_id IS NULL THEN f.processing_started_at
                     < clock_timestamp() - :'stale_after_seconds'::float8 * interval '1 second'
                WHEN f.processing_epoch < n.first_epoch OR n.lease_until < clock_timestamp() THEN false
                ELSE greatest(f.processing_started_at, CASE WHEN n.token = f.processing_token THEN n.progress_at END)
                     < clock_timestamp() - n.stale_after_seconds * interval '1 second' END AS stale,
           coalesce(f.processing_epoch < n.first_epoch OR n.lease_until < clock_timestamp(), false) AS orphaned
      FROM :"files" AS f
      LEFT JOIN :"nodes" AS n ON n.server_id = f.processing_server_id AND f.processing_token IS NOT NULL
     WHERE f.processing_status = 'processing'
)
SELECT (SELECT count(*) FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE) AS queued,
       (SELECT count(*) FROM claims WHERE deleted IS NOT TRUE) AS processing,
       (SELECT count(*) FROM claims WHERE stale) AS stale_files,
       (SELECT count(*) FROM claims WHERE orphaned) AS orphaned_files,
       (SELECT count(*) FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL) AS active_servers,
       (SELECT count(*) FROM :"nodes" AS n
         WHERE n.state = 'active' AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
           AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id))) AS claiming_nodes,
       (SELECT count(*) FROM :"nodes"
         WHERE state = 'quarantined' AND lease_until >= clock_timestamp() AND stopped_at IS NULL) AS quarantined_nodes,
       -- The first in the queue came first, unless it has a head start; then it is looked for among the first thousand.
       (SELECT greatest(0, CASE WHEN came_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM came_at), -1e10), 1e10) END)::float8
          FROM (SELECT CASE WHEN processing_arrived_at IS NULL THEN processing_queued_at
                            ELSE (SELECT min(greatest(queued_at, arrived_at))
                                    FROM (SELECT processing_queued_at AS queued_at, processing_arrived_at AS arrived_at FROM :"files"
                                           WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                                           ORDER BY processing_queued_at, id LIMIT 1000) AS head) END AS came_at
                  FROM :"files"
                 WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                 ORDER BY processing_queued_at, id LIMIT 1) AS first) AS oldest_queued_seconds,
       (SELECT count(*) > 0 FROM :"pauses" WHERE scope = '*') AS all_paused,
       (SELECT reason FROM :"pauses" WHERE scope = ' breaker' AND closed_at IS NULL) AS breaker,
       clock_timestamp() AS as_of;
