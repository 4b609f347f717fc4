-- Whether files fail now that did not before: the failures of the last minutes, their commonest error, and those of the
-- hour before.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/failing.sql
--
-- now_seconds      how long "now" is (default 900)
-- before_seconds   how long the time before it is (default 3600)
-- row_limit        most failures to read of either (default 10000)
--
-- What an operator has cancelled is left out. An error is named by its identity where the row has one of its own attempt, else by the last line of its text.
\ir ../_session.sql
\if :{?now_seconds} \else \set now_seconds 900 \endif
\if :{?before_seconds} \else \set before_seconds 3600 \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
WITH moments AS MATERIALIZED (
    SELECT clock_timestamp() - :'now_seconds'::float8 * interval '1 second' AS begins,
           clock_timestamp() - (:'now_seconds'::float8 + :'before_seconds'::float8) * interval '1 second' AS before
), recent AS MATERIALIZED (
    SELECT processing_server_id AS server_id,
           CASE WHEN processing_failure ->> 'attempt' = processing_attempt::text THEN processing_failure ->> 'error'
                ELSE left(substring(processing_errors FROM '[^\n]*\s*$'), 300) END AS error
      FROM :"files"
     WHERE processing_status = 'failed' AND deleted IS NOT TRUE
       AND processing_completed_at >= (SELECT begins FROM moments) AND (processing_failure -> 'cancelled') IS NULL
     ORDER BY processing_completed_at DESC NULLS LAST LIMIT :'row_limit'::int
), commonest AS (
    SELECT error, count(*) AS count, pg_catalog.count(DISTINCT server_id) AS servers, min(server_id) AS server_id
      FROM recent GROUP BY error ORDER BY count(*) DESC, error LIMIT 1
)
SELECT (SELECT count(*) FROM recent) AS failed,
       (SELECT count(*) FROM (SELECT FROM :"files"
                               WHERE processing_status = 'failed' AND deleted IS NOT TRUE
                                 AND processing_completed_at >= (SELECT before FROM moments)
                                 AND processing_completed_at < (SELECT begins FROM moments)
                                 AND (processing_failure -> 'cancelled') IS NULL
                               ORDER BY processing_completed_at DESC NULLS LAST LIMIT :'row_limit'::int) AS earlier) AS failed_before,
       (SELECT count(*) FROM (SELECT FROM :"files"
                               WHERE processing_status IN ('completed', 'failed')
                                 AND processing_completed_at >= (SELECT begins FROM moments)
                               ORDER BY processing_completed_at LIMIT :'row_limit'::int) AS ended) AS ended,
       c.error, c.count, c.servers, c.server_id
  FROM (SELECT 1) AS one LEFT JOIN commonest AS c ON true;
