-- Claim a file as the probe of an open breaker where lanes are on: breaker_probe.sql, for these lanes alone.
--
-- psql: for nodes.
--
-- server_id, boot, epoch, token   as in claim.sql
-- lanes, afters   as in claim_in_turn.sql; the cursors do not count
\ir _session.sql
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN n.state <> 'active' OR n.lease_until < now()
                     OR EXISTS (SELECT FROM :"pauses" WHERE scope IN ('*', :'server_id')) THEN 'paused' ELSE 'open' END AS answer
      FROM :"nodes" AS n
     WHERE n.server_id = :'server_id' AND n.boot = :'boot'::uuid AND n.epoch = :'epoch'::bigint
       FOR KEY SHARE OF n
), candidates AS MATERIALIZED (
    SELECT first.id, first.failures, first.tried, random() AS shuffle
      FROM ROWS FROM (pg_catalog.unnest(CAST(:'lanes' AS :"lane_schema".:"lane_array")), pg_catalog.unnest(:'afters'::timestamptz[])) AS l (lane, after)
     CROSS JOIN LATERAL (
           (SELECT f.id, coalesce(f.processing_failures, 0) AS failures, coalesce(f.processing_attempt, 0) > 0 AS tried
              FROM :"files" AS f
             WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND f.:"lane" >= l.lane
               AND (f.:"lane", f.processing_queued_at) <= (l.lane, now())
             ORDER BY f.:"lane", f.processing_queued_at, f.id LIMIT 50)
           UNION ALL
           (SELECT f.id, coalesce(f.processing_failures, 0), coalesce(f.processing_attempt, 0) > 0
              FROM :"files" AS f
             WHERE l.lane IS NULL AND f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND f.processing_queued_at <= now()
               AND f.:"lane" IS NULL
             ORDER BY f.:"lane", f.processing_queued_at, f.id LIMIT 50)) AS first
), mine AS MATERIALIZED (
    UPDATE :"pauses" AS p
       SET probe_seconds = least(30, 2 * p.probe_seconds),
           next_probe_at = clock_timestamp() + least(30, 2 * p.probe_seconds) * interval '1 second'
     WHERE p.scope = ' breaker' AND p.closed_at IS NULL AND p.next_probe_at <= clock_timestamp()
       AND (SELECT answer FROM gate) = 'open' AND EXISTS (SELECT FROM candidates)
    RETURNING p.scope
), pick AS MATERIALIZED (
    SELECT f.id FROM candidates AS c JOIN :"files" AS f ON f.id = c.id
     WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND EXISTS (SELECT FROM mine)
     ORDER BY c.tried, c.failures, c.shuffle
     LIMIT 1
       FOR NO KEY UPDATE OF f SKIP LOCKED
), claimed AS (
    UPDATE :"files" AS f
       SET processing_status = 'processing', processing_server_id = :'server_id',
           processing_started_at = clock_timestamp(), processing_completed_at = NULL,
           processing_attempt = coalesce(processing_attempt, 0) + 1,
           processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
      FROM pick WHERE f.id = pick.id
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size::bigint AS file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, '-infinity'::text AS queued_at, f.:"lane"::text AS lane
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN gate.answer IS NULL THEN 'deposed' ELSE 'paused' END AS outcome,
       claimed.*, CASE WHEN claimed.id IS NULL THEN 1::float8 END AS next_seconds
  FROM (SELECT 1) AS one LEFT JOIN gate ON true LEFT JOIN claimed ON true;
