-- Requeue: failed files, or given files that have ended, go back to the queue with a fresh retry budget.
--
-- psql "$DATABASE_URL" -v env=development -v which=ids -v ids='{17,18}' -v actor=me -v reason='parser mended' -f sql/requeue.sql
--
-- which       ids: the files named, failed or completed; failed: every failed file that error and server_id let through
-- ids         the files, as an array literal (default '{}')
-- error       only failed files whose grouped error (failures.sql) is this; '' means any
-- server_id   only failed files of this server; '' means any
-- row_limit   most rows in one call (default 10000)
-- before      only files that failed before this time; '' means any: for whoever calls until nothing is left
-- actor, reason   who and why, for the history, which keeps the row as it was before
\ir _session.sql
\if :{?ids} \else \set ids '{}' \endif
\if :{?error} \else \set error '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
\if :{?before} \else \set before '' \endif
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH before AS MATERIALIZED (
    SELECT id, original_filename, processing_status, processing_server_id, processing_started_at, processing_completed_at,
           processing_attempt, processing_failures, processing_errors, processing_failure, processing_done_token,
           processing_result
      FROM :"files"
     WHERE deleted IS NOT TRUE
       AND (:'which' = 'ids' AND processing_status IN ('failed', 'completed') AND id = ANY (:'ids')
            OR :'which' = 'failed' AND processing_status = 'failed'
                     AND (:'before' = '' OR coalesce(processing_completed_at < nullif(:'before', '')::timestamptz, true))
                     AND (:'server_id' = '' OR processing_server_id = :'server_id')
                     AND (:'error' = ''
                          -- What every text of the group begins with first: the patterns, which cost most, read little else.
                          OR starts_with(coalesce(processing_errors, 'no reason recorded'), substring(:'error'::text FROM '^[^#…]*'))
                         AND regexp_replace(regexp_replace(left(coalesce(processing_errors, 'no reason recorded'), 500),
                             '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'), '[0-9]+', '#', 'g') = :'error'))
     ORDER BY processing_completed_at, id
     LIMIT :'row_limit'::int
       FOR NO KEY UPDATE SKIP LOCKED
), requeued AS (
    UPDATE :"files" AS f
       SET processing_status = 'queued', processing_queued_at = clock_timestamp(), processing_failures = 0,
           processing_failure = NULL,
           processing_server_id = NULL, processing_started_at = NULL, processing_completed_at = NULL,
           processing_token = NULL, processing_done_token = NULL, processing_epoch = NULL
      FROM before WHERE f.id = before.id
    RETURNING f.id
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, ended_at, reason, actor, details)
    SELECT 'requeue', processing_status, 'queued', before.id::text, processing_server_id, processing_done_token,
           processing_attempt, processing_started_at, processing_completed_at, :'reason', :'actor',
           jsonb_build_object('processing_status', processing_status, 'processing_server_id', processing_server_id,
               'processing_started_at', processing_started_at, 'processing_completed_at', processing_completed_at,
               'processing_attempt', processing_attempt, 'processing_failures', processing_failures,
               'processing_errors', processing_errors, 'processing_failure', processing_failure,
               'processing_result', processing_result)
      FROM before JOIN requeued ON requeued.id = before.id
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM requeued)
)
SELECT before.id::text AS id, original_filename, processing_server_id AS server_id,
       processing_started_at AS started_at, processing_status AS was
  FROM before JOIN requeued ON requeued.id = before.id LEFT JOIN woken ON true
 ORDER BY processing_completed_at, before.id;
