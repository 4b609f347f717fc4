-- Requeue: failed files, or given files that have ended, go back to the queue with a fresh retry budget.
--
-- psql "$DATABASE_URL" -v env=development -v which=ids -v ids='{17,18}' -v actor=me -v reason='parser mended' -f sql/requeue.sql
--
-- which       ids: the files named, failed or completed; failed: every failed file that error, server_id and of_lane let through
-- ids         the files, as an array literal (default '{}')
-- attempts    of the files named only those that are failed at this attempt still, as id/attempt (default '{}': all)
-- error       only failed files of this group, as failures.sql names it; '' means any
-- server_id   only failed files of this server; '' means any
-- of_lane     only failed files of this lane, (none) for those without one; '' means any
-- cancelled   true: cancelled files as well; they are left out of `failed` otherwise, but by their ids or their error
-- row_limit   most rows in one call (default 10000)
-- before      only files that failed before this time; '' means any: for whoever calls until nothing is left
-- actor, reason   who and why, for the history, which keeps the row as it was before
\ir _session.sql
\ir _lane.sql
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?attempts} \else \set attempts '{}' \endif
\if :{?error} \else \set error '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
\if :{?cancelled} \else \set cancelled false \endif
\if :{?before} \else \set before '' \endif
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH RECURSIVE kinds AS MATERIALIZED (
    -- Each kind once, by a leap to the next in its index; a million failures of one kind cost no more than one.
    (SELECT processing_failure AS failure, processing_attempt AS attempt FROM :"files"
      WHERE :'error' <> '' AND processing_status = 'failed' AND deleted IS NOT TRUE AND processing_failure IS NOT NULL
      ORDER BY processing_failure, processing_attempt LIMIT 1)
     UNION ALL
    SELECT next.failure, next.attempt
      FROM kinds CROSS JOIN LATERAL (
           SELECT processing_failure AS failure, processing_attempt AS attempt FROM :"files"
            WHERE processing_status = 'failed' AND deleted IS NOT TRUE
              AND (processing_failure, processing_attempt) > (kinds.failure, kinds.attempt)
            ORDER BY processing_failure, processing_attempt LIMIT 1) AS next
), named AS MATERIALIZED (
    SELECT id, original_filename, processing_status, processing_server_id, processing_started_at, processing_completed_at,
           processing_attempt, processing_failures, processing_errors, processing_failure, processing_done_token,
           processing_result
      FROM :"files" AS f
     WHERE deleted IS NOT TRUE AND :'error' = ''
       AND (:'which' = 'ids' AND processing_status IN ('failed', 'completed') AND id = ANY (:'ids')
                     AND (:'attempts'::text[] = '{}' OR processing_status = 'failed'
                          AND f.id::text || '/' || coalesce(f.processing_attempt, 0) = ANY (:'attempts'::text[]))
            OR :'which' = 'failed' AND processing_status = 'failed'
                     AND (:'cancelled'::boolean OR (f.processing_failure -> 'cancelled') IS NULL
                          OR f.processing_failure ->> 'attempt' <> f.processing_attempt::text)
                     AND (:'before' = '' OR coalesce(f.processing_completed_at < nullif(:'before', '')::timestamptz, true))
                     AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR f.:"lane_column" IS NULL THEN '(none)' ELSE f.:"lane_column"::text END = :'of_lane')
                     AND (:'server_id' = '' OR f.processing_server_id = :'server_id'))
     ORDER BY processing_completed_at, id
     LIMIT :'row_limit'::int
       FOR NO KEY UPDATE SKIP LOCKED
), known AS MATERIALIZED (
    SELECT of_kind.*
      FROM (SELECT *, (failure ->> 'attempt' = attempt::text) IS TRUE AS holds FROM kinds) AS kind
     CROSS JOIN LATERAL (
           SELECT id, original_filename, processing_status, processing_server_id, processing_started_at, processing_completed_at,
                  processing_attempt, processing_failures, processing_errors, processing_failure, processing_done_token,
                  processing_result
             FROM :"files" AS f
            WHERE f.processing_status = 'failed' AND f.deleted IS NOT TRUE
              AND f.processing_failure = kind.failure AND f.processing_attempt = kind.attempt
              AND (:'before' = '' OR coalesce(f.processing_completed_at < nullif(:'before', '')::timestamptz, true))
              AND (:'server_id' = '' OR f.processing_server_id = :'server_id')
              AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR f.:"lane_column" IS NULL THEN '(none)' ELSE f.:"lane_column"::text END = :'of_lane')
              -- The identity of an earlier attempt: an older node has failed the file since.
              AND (kind.holds OR coalesce(nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(translate(btrim(left(substring(
                              regexp_replace(right(coalesce(f.processing_errors::text, ''), 2000),
                              '(\n([ \t^~]*|[ \t]*(LINE [0-9]+|DETAIL|HINT|CONTEXT|QUERY):[^\n]*))+$', '') FROM '[^\n]*$'), 300)),
                              '123456789', '000000000'), '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'),
                              '''[^'']*/[^'']*''', '''…''', 'g'), '\m0x[0-9a-f]+', '#', 'g'), '[0-9]+', '#', 'g'), ''),
                              'no reason recorded') = :'error')
            ORDER BY f.processing_completed_at
            LIMIT :'row_limit'::int
              FOR NO KEY UPDATE SKIP LOCKED) AS of_kind
     WHERE :'which' = 'failed'
       AND (NOT holds OR failure ->> 'error'
           || CASE coalesce(failure ->> 'place', '') WHEN '' THEN '' ELSE pg_catalog.format(' (%s)', failure ->> 'place') END = :'error')
     LIMIT :'row_limit'::int
), told AS MATERIALIZED (
    -- Failed by an older node, or by the application: the last line of the text, as failures.sql reads it.
    SELECT id, original_filename, processing_status, processing_server_id, processing_started_at, processing_completed_at,
           processing_attempt, processing_failures, processing_errors, processing_failure, processing_done_token,
           processing_result
      FROM :"files" AS f
     WHERE :'which' = 'failed' AND :'error' <> '' AND f.processing_status = 'failed' AND f.deleted IS NOT TRUE
       AND f.processing_failure IS NULL
       AND (:'before' = '' OR coalesce(f.processing_completed_at < nullif(:'before', '')::timestamptz, true))
       AND (:'server_id' = '' OR f.processing_server_id = :'server_id')
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR f.:"lane_column" IS NULL THEN '(none)' ELSE f.:"lane_column"::text END = :'of_lane')
       AND coalesce(nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(translate(btrim(left(substring(
                   regexp_replace(right(coalesce(f.processing_errors::text, ''), 2000),
                   '(\n([ \t^~]*|[ \t]*(LINE [0-9]+|DETAIL|HINT|CONTEXT|QUERY):[^\n]*))+$', '') FROM '[^\n]*$'), 300)),
                   '123456789', '000000000'), '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'),
                   '''[^'']*/[^'']*''', '''…''', 'g'), '\m0x[0-9a-f]+', '#', 'g'), '[0-9]+', '#', 'g'), ''),
                   'no reason recorded') = :'error'
     ORDER BY processing_completed_at, id
     LIMIT :'row_limit'::int
       FOR NO KEY UPDATE SKIP LOCKED
), before AS MATERIALIZED (
    SELECT id, original_filename, processing_status, processing_server_id, processing_started_at, processing_completed_at,
           processing_attempt, processing_failures, processing_errors, processing_failure, processing_done_token,
           processing_result
      FROM (SELECT * FROM named UNION ALL SELECT * FROM known UNION ALL SELECT * FROM told) AS locked
     LIMIT :'row_limit'::int
), updated AS (
    UPDATE :"files" AS f
       SET processing_status = 'queued', processing_queued_at = clock_timestamp(), processing_failures = 0,
           processing_failure = NULL,
           processing_server_id = NULL, processing_started_at = NULL, processing_completed_at = NULL,
           processing_token = NULL, processing_done_token = NULL, processing_epoch = NULL
      FROM before WHERE f.id = before.id
    RETURNING f.id, f.processing_status AS status
), requeued AS (
    -- What the table's own triggers have made of it, or let through.
    SELECT id FROM updated WHERE status = 'queued'
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, ended_at, reason, actor, details)
    SELECT 'requeue', processing_status, 'queued', before.id::text, processing_server_id, processing_done_token,
           processing_attempt, processing_started_at, processing_completed_at, :'reason', :'actor',
           pg_catalog.jsonb_build_object('processing_status', processing_status, 'processing_server_id', processing_server_id,
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
