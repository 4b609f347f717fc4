-- When the failed files of each group of failures.sql failed: how many in each hour of the last day.
--
-- psql "$DATABASE_URL" -v env=development -f sql/failure_trend.sql
--
-- of_lane     only files of this lane, (none) for those without one (default '': all)
--
-- error       the group, as failures.sql names it
-- hours_ago   0 to 23: whole hours before now; an hour without a failure has no row
\ir _session.sql
\ir _lane.sql
\if :{?of_lane} \else \set of_lane '' \endif
WITH alike AS MATERIALIZED (
    -- From the index alone, as failures.sql reads it.
    SELECT processing_failure AS failure, (processing_failure ->> 'attempt' = processing_attempt::text) IS TRUE AS holds,
           floor(extract(epoch FROM now() - processing_completed_at) / 3600)::int AS hours_ago, count(*) AS file_count
      FROM :"files"
     WHERE processing_status = 'failed' AND deleted IS NOT TRUE AND processing_failure IS NOT NULL
       AND processing_completed_at > now() - interval '1 day' AND processing_completed_at <= now()
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
     GROUP BY processing_failure, processing_attempt, 3
), texts AS MATERIALIZED (
    SELECT translate(left(substring(regexp_replace(right(coalesce(processing_errors::text, ''), 2000),
               '(\n([ \t^~]*|[ \t]*(LINE [0-9]+|DETAIL|HINT|CONTEXT|QUERY):[^\n]*))+$', '') FROM '[^\n]*$'), 300),
               '123456789', '000000000') AS line,
           floor(extract(epoch FROM now() - processing_completed_at) / 3600)::int AS hours_ago, count(*) AS file_count
      FROM :"files"
     WHERE processing_status = 'failed' AND deleted IS NOT TRUE
       AND (processing_failure ->> 'attempt' = processing_attempt::text) IS NOT TRUE
       AND processing_completed_at > now() - interval '1 day' AND processing_completed_at <= now()
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
     GROUP BY 1, 2
), named AS (
    SELECT (failure ->> 'error') || CASE coalesce(failure ->> 'place', '') WHEN '' THEN ''
                                        ELSE pg_catalog.format(' (%s)', failure ->> 'place') END AS error, hours_ago, file_count
      FROM alike WHERE holds
     UNION ALL
    SELECT coalesce(nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(btrim(line),
               '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'), '''[^'']*/[^'']*''', '''…''', 'g'),
               '\m0x[0-9a-f]+', '#', 'g'), '[0-9]+', '#', 'g'), ''), 'no reason recorded'), hours_ago, file_count
      FROM texts
)
SELECT error, hours_ago, sum(file_count)::bigint AS file_count FROM named GROUP BY error, hours_ago ORDER BY error, hours_ago;
