-- Complete the file in hand and claim the next: one statement, one round trip, one commit per file.
--
-- psql: run complete.sql and claim.sql instead; this is the node's hot path and does both at once.
--
-- id, done_token, result   the file in hand, its token, its result as JSON ('null' for none)
-- others                   as in claim.sql, for the next file
--
-- `completed` is false when the guard refused (then complete.sql tells why); the next file is claimed only
-- when it is true, so that a late copy of this statement, from a connection given up, claims nothing.
-- The reference to `done` in `pick` also orders the two updates: the index of one file per node then accepts the second.
--
-- `processing_status || ''` keeps the planner from the tiny partial index on processing rows, whose dead entries it
-- would walk under a pinned xmin (2360 to 263 files/s after 10,000); the primary key stays fast.
\ir _session.sql
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN n.state <> 'active' OR n.lease_until < now() OR p.scope IS NOT NULL THEN 'paused' ELSE 'open'
           END AS answer
      FROM :"nodes" AS n
      LEFT JOIN LATERAL (SELECT scope FROM :"pauses" WHERE scope IN ('*', :'server_id') LIMIT 1) AS p ON true
     WHERE n.server_id = :'server_id' AND n.boot = :'boot'::uuid AND n.epoch = :'epoch'::bigint
       FOR KEY SHARE OF n
), done AS (
    UPDATE :"files"
       SET processing_status = 'completed', processing_completed_at = clock_timestamp(), processing_errors = NULL,
           processing_failures = 0, processing_done_token = :'done_token'::uuid, processing_result = :'result'::jsonb
     WHERE id = :'id' AND processing_token = :'done_token'::uuid AND processing_status || '' = 'processing'
    RETURNING 1
), pick AS MATERIALIZED (
    SELECT id FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE
       AND processing_queued_at >= :'after'::timestamptz AND processing_queued_at <= now()
       AND EXISTS (SELECT FROM done) AND (SELECT answer FROM gate) = 'open'
     ORDER BY processing_queued_at, id
     LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE :"files" AS f
       SET processing_status = 'processing', processing_server_id = :'server_id',
           processing_started_at = clock_timestamp(), processing_completed_at = NULL,
           processing_attempt = coalesce(processing_attempt, 0) + 1,
           processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
      FROM pick WHERE f.id = pick.id
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, f.processing_queued_at::text AS queued_at
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN gate.answer = 'open' THEN 'empty'
            ELSE coalesce(gate.answer, 'deposed') END AS outcome,
       claimed.*, NULL::float8 AS next_seconds, EXISTS (SELECT FROM done) AS completed
  FROM (SELECT 1) AS one LEFT JOIN gate ON true LEFT JOIN claimed ON true;
