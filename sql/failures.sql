-- What goes wrong: failed files grouped by their error, with numbers and ids taken out of the text.
--
-- psql "$DATABASE_URL" -v env=development -f sql/failures.sql
--
-- row_limit   most groups (default 100)
\ir _session.sql
\if :{?row_limit} \else \set row_limit 100 \endif
WITH alike AS MATERIALIZED (
    -- Alike but for their digits first: the patterns, which cost most, then read each text once.
    SELECT translate(left(coalesce(processing_errors, 'no reason recorded'), 500), '123456789', '000000000') AS text,
           count(*) AS file_count,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '1 hour') AS last_hour,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '1 day') AS last_day,
           count(*) FILTER (WHERE processing_completed_at >= clock_timestamp() - interval '7 days') AS last_week,
           max(processing_completed_at) AS latest, min(original_filename) AS example
      FROM :"files" WHERE processing_status = 'failed' AND deleted IS NOT TRUE
     GROUP BY 1
)
SELECT regexp_replace(regexp_replace(text,
           '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'), '[0-9]+', '#', 'g') AS error,
       sum(file_count)::bigint AS file_count, sum(last_hour)::bigint AS last_hour, sum(last_day)::bigint AS last_day,
       sum(last_week)::bigint AS last_week, max(latest) AS latest, min(example) AS example
  FROM alike
 GROUP BY error
 ORDER BY file_count DESC, error
 LIMIT :'row_limit'::int;
