-- What goes wrong: failed files grouped by the identity of their error: exception, message and place.
--
-- psql "$DATABASE_URL" -v env=development -f sql/failures.sql
--
-- of_lane     only files of this lane, (none) for those without one (default '': all)
-- row_limit   most groups (default 100)
--
-- error     the group, as failed_files.sql and requeue.sql take it: message (place)
-- message   exception and message, without what belongs to one file
-- place     the innermost frame of the processor's own code, '' where it is not known
-- earliest  when the first of these files failed: an error that is new has an earliest of today
-- example   name of the newest file, or of one of them
--
-- processing_failure holds for the attempt that it names. Where it names another, or there is none, an older node or the
-- application has failed the file: then the last line of the text serves, with numbers and ids taken out.
\ir _session.sql
\ir _lane.sql
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?row_limit} \else \set row_limit 100 \endif
WITH alike AS MATERIALIZED (
    -- From the index alone: the order of its columns is that of the groups.
    SELECT processing_failure AS failure, processing_attempt AS attempt,
           processing_failure ->> 'attempt' = processing_attempt::text AS holds, count(*) AS file_count,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '1 hour') AS last_hour,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '1 day') AS last_day,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '7 days') AS last_week,
           max(processing_completed_at) AS latest, min(processing_completed_at) AS earliest
      FROM :"files" WHERE processing_status = 'failed' AND deleted IS NOT TRUE
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
     GROUP BY processing_failure, processing_attempt
), texts AS MATERIALIZED (
    -- Alike but for their digits first: the patterns, which cost most, then read each text once.
    SELECT translate(last.line, '123456789', '000000000') AS line, count(*) AS file_count,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '1 hour') AS last_hour,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '1 day') AS last_day,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '7 days') AS last_week,
           max(processing_completed_at) AS latest, min(processing_completed_at) AS earliest,
           min(original_filename::text) AS example
      FROM (SELECT processing_errors, processing_completed_at, original_filename FROM :"files"
             WHERE processing_status = 'failed' AND deleted IS NOT TRUE AND processing_failure IS NULL
               AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
             UNION ALL
            SELECT f.* FROM alike CROSS JOIN LATERAL (
                   SELECT processing_errors, processing_completed_at, original_filename FROM :"files"
                    WHERE processing_status = 'failed' AND deleted IS NOT TRUE
                      AND processing_failure = alike.failure AND processing_attempt = alike.attempt
                      AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane') OFFSET 0) AS f
             WHERE alike.holds IS NOT TRUE) AS older
     CROSS JOIN LATERAL (
           SELECT left(substring(regexp_replace(right(coalesce(processing_errors::text, ''), 2000),
               '(\n([ \t^~]*|[ \t]*(LINE [0-9]+|DETAIL|HINT|CONTEXT|QUERY):[^\n]*))+$', '') FROM '[^\n]*$'), 300) AS line) AS last
     GROUP BY 1
), named AS (
    SELECT failure ->> 'error' AS message, coalesce(failure ->> 'place', '') AS place, file_count, last_hour, last_day, last_week,
           latest, earliest, NULL AS example, failure, attempt
      FROM alike WHERE holds
     UNION ALL
    SELECT coalesce(nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(btrim(line),
               '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'), '''[^'']*/[^'']*''', '''…''', 'g'),
               '\m0x[0-9a-f]+', '#', 'g'), '[0-9]+', '#', 'g'), ''), 'no reason recorded'), '', file_count, last_hour, last_day,
           last_week, latest, earliest, example, NULL, NULL
      FROM texts
), grouped AS (
    SELECT message || CASE place WHEN '' THEN '' ELSE pg_catalog.format(' (%s)', place) END AS error, message, place,
           sum(file_count)::bigint AS file_count, sum(last_hour)::bigint AS last_hour, sum(last_day)::bigint AS last_day,
           sum(last_week)::bigint AS last_week, max(latest) AS latest, min(earliest) AS earliest, min(example) AS example,
           (pg_catalog.array_agg(failure ORDER BY latest DESC NULLS LAST))[1] AS failure,
           (pg_catalog.array_agg(attempt ORDER BY latest DESC NULLS LAST))[1] AS attempt
      FROM named
     GROUP BY message, place
     ORDER BY file_count DESC, error
     LIMIT :'row_limit'::int
)
SELECT error, message, place, file_count, last_hour, last_day, last_week, latest, earliest,
       coalesce(example, (SELECT f.original_filename FROM :"files" AS f
                           WHERE f.processing_status = 'failed' AND f.deleted IS NOT TRUE
                             AND f.processing_failure = g.failure AND f.processing_attempt = g.attempt
                             AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR f.:"lane_column" IS NULL THEN '(none)' ELSE f.:"lane_column"::text END = :'of_lane')
                           ORDER BY f.processing_completed_at DESC LIMIT 1)) AS example
  FROM grouped AS g
 ORDER BY file_count DESC, error;
