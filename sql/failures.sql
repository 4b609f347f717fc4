-- What goes wrong: failed files grouped by their error, with numbers and ids taken out of the text.
--
-- psql "$DATABASE_URL" -v env=development -f sql/failures.sql
--
-- row_limit   most groups (default 100)
\ir _session.sql
\if :{?row_limit} \else \set row_limit 100 \endif
SELECT error, count(*) AS file_count,
       count(*) FILTER (WHERE ended >= clock_timestamp() - interval '1 hour') AS last_hour,
       count(*) FILTER (WHERE ended >= clock_timestamp() - interval '1 day') AS last_day,
       count(*) FILTER (WHERE ended >= clock_timestamp() - interval '7 days') AS last_week,
       max(ended) AS latest, min(original_filename) AS example
  FROM (SELECT regexp_replace(regexp_replace(left(coalesce(processing_errors, 'no reason recorded'), 500),
                   '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}', '…', 'g'), '[0-9]+', '#', 'g') AS error,
               processing_completed_at AS ended, original_filename
          FROM :"files" WHERE processing_status = 'failed' AND deleted IS NOT TRUE) AS failed
 GROUP BY error
 ORDER BY count(*) DESC, error
 LIMIT :'row_limit'::int;
