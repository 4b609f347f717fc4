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
WITH node AS MATERIALIZED (
    SELECT state FROM :"nodes"
     WHERE server_id = :'server_id' AND boot = :'boot'::uuid AND epoch = :'epoch'::bigint
       FOR KEY SHARE
), gate AS MATERIALIZED (
    SELECT CASE WHEN NOT EXISTS (SELECT FROM node) THEN 'deposed'
                WHEN (SELECT state FROM node) <> 'active'
                     OR EXISTS (SELECT FROM :"pauses" WHERE scope IN ('*', :'server_id')) THEN 'paused'
                ELSE 'open' END AS answer
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
       AND (SELECT count(*) FROM done) = 1 AND (SELECT answer FROM gate) = 'open'
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
            ELSE gate.answer END AS outcome,
       claimed.*, NULL::float8 AS next_seconds, (SELECT count(*) FROM done) = 1 AS completed
  FROM gate LEFT JOIN claimed ON true;
