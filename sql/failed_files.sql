-- The failed files of one group of failures.sql, the newest first.
--
-- psql "$DATABASE_URL" -v env=development -v error='ValueError: line # is bad (ledger.py in process)' -f sql/failed_files.sql
--
-- error           the group, as failures.sql names it
-- since_seconds   only files that failed within this time; '' means any (default '')
-- of_lane         only files of this lane, (none) for those without one (default '': all)
-- row_limit       most rows (default 200)
--
-- lane   the file's, (none) where it has none; NULL where the table has no lanes
\ir _session.sql
\ir _lane.sql
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?since_seconds} \else \set since_seconds '' \endif
\if :{?row_limit} \else \set row_limit 200 \endif
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
), known AS (
    SELECT of_kind.*
      FROM (SELECT *, (failure ->> 'attempt' = attempt::text) IS TRUE AS holds FROM kinds) AS kind
     CROSS JOIN LATERAL (
           SELECT id, original_filename, processing_server_id, processing_completed_at, processing_attempt, processing_errors,
                  CASE WHEN :'lane_column' <> 'processing_status' THEN coalesce(f.:"lane_column"::text, '(none)') END AS lane
             FROM :"files" AS f
            WHERE f.processing_status = 'failed' AND f.deleted IS NOT TRUE
              AND f.processing_failure = kind.failure AND f.processing_attempt = kind.attempt
              AND (:'since_seconds' = ''
                   OR f.processing_completed_at >= now() - nullif(:'since_seconds', '')::float8 * interval '1 second')
              AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR f.:"lane_column" IS NULL THEN '(none)' ELSE f.:"lane_column"::text END = :'of_lane')
              -- The identity of an earlier attempt: an older node has failed the file since.
              AND (kind.holds OR coalesce(nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(translate(btrim(left(substring(
                              regexp_replace(right(coalesce(f.processing_errors::text, ''), 2000),
                              '(\n([ \t^~]*|[ \t]*(LINE [0-9]+|DETAIL|HINT|CONTEXT|QUERY):[^\n]*))+$', '') FROM '[^\n]*$'), 300)),
                              '123456789', '000000000'), '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'),
                              '''[^'']*/[^'']*''', '''…''', 'g'), '\m0x[0-9a-f]+', '#', 'g'), '[0-9]+', '#', 'g'), ''),
                              'no reason recorded') = :'error')
            ORDER BY f.processing_completed_at DESC
            LIMIT :'row_limit'::int) AS of_kind
     WHERE NOT holds OR failure ->> 'error'
           || CASE coalesce(failure ->> 'place', '') WHEN '' THEN '' ELSE pg_catalog.format(' (%s)', failure ->> 'place') END = :'error'
), told AS (
    -- Failed by an older node, or by the application: the last line of the text, as failures.sql reads it.
    SELECT id, original_filename, processing_server_id, processing_completed_at, processing_attempt, processing_errors,
           CASE WHEN :'lane_column' <> 'processing_status' THEN coalesce(f.:"lane_column"::text, '(none)') END AS lane
      FROM :"files" AS f
     WHERE f.processing_status = 'failed' AND f.deleted IS NOT TRUE AND f.processing_failure IS NULL
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR f.:"lane_column" IS NULL THEN '(none)' ELSE f.:"lane_column"::text END = :'of_lane')
       AND (:'since_seconds' = ''
            OR f.processing_completed_at >= now() - nullif(:'since_seconds', '')::float8 * interval '1 second')
       AND coalesce(nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(translate(btrim(left(substring(
                   regexp_replace(right(coalesce(f.processing_errors::text, ''), 2000),
                   '(\n([ \t^~]*|[ \t]*(LINE [0-9]+|DETAIL|HINT|CONTEXT|QUERY):[^\n]*))+$', '') FROM '[^\n]*$'), 300)),
                   '123456789', '000000000'), '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'),
                   '''[^'']*/[^'']*''', '''…''', 'g'), '\m0x[0-9a-f]+', '#', 'g'), '[0-9]+', '#', 'g'), ''),
                   'no reason recorded') = :'error'
)
SELECT id::text AS id, original_filename, processing_server_id, processing_completed_at, processing_attempt,
       processing_errors, lane
  FROM (SELECT * FROM known UNION ALL SELECT * FROM told) AS found
 ORDER BY processing_completed_at DESC NULLS LAST, found.id
 LIMIT :'row_limit'::int;
