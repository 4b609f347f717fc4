-- How long the oldest queued file has waited, and whether more files came than ended lately.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/backlog.sql
--
-- since_seconds   how far back (default 900)
-- row_limit       most files to read of each kind (default 10000)
--
-- A file came when it took its place in the queue: processing_queued_at, or processing_arrived_at where it has a head start
-- (of those in the queue the first in it are looked at). A later retry is a later place. Who has a place in the future is
-- not due and does not wait.
\ir ../_session.sql
\if :{?since_seconds} \else \set since_seconds 900 \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
WITH moments AS MATERIALIZED (
    SELECT clock_timestamp() AS now, clock_timestamp() - :'since_seconds'::float8 * interval '1 second' AS begins
), ended AS MATERIALIZED (
    SELECT greatest(processing_queued_at, processing_arrived_at) AS queued_at FROM :"files"
     WHERE processing_status IN ('completed', 'failed') AND processing_completed_at >= (SELECT begins FROM moments)
     ORDER BY processing_completed_at LIMIT :'row_limit'::int
), waiting AS MATERIALIZED (
    SELECT processing_queued_at AS queued_at FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE
       AND processing_queued_at >= (SELECT begins FROM moments) AND processing_queued_at <= (SELECT now FROM moments)
     ORDER BY processing_queued_at, id LIMIT :'row_limit'::int
), oldest AS (
    SELECT CASE WHEN processing_arrived_at IS NULL THEN processing_queued_at
                ELSE (SELECT min(greatest(queued_at, arrived_at))
                        FROM (SELECT processing_queued_at AS queued_at, processing_arrived_at AS arrived_at FROM :"files"
                               WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                                 AND processing_queued_at <= (SELECT now FROM moments) AND processing_queued_at > '-infinity'
                               ORDER BY processing_queued_at, id LIMIT 1000) AS head) END AS queued_at
      FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE AND processing_queued_at <= (SELECT now FROM moments)
       AND processing_queued_at > '-infinity'
     ORDER BY processing_queued_at, id LIMIT 1
)
SELECT (SELECT extract(epoch FROM moments.now - queued_at)::float8 FROM oldest) AS oldest_seconds,
       (SELECT count(*) FROM waiting)
       + (SELECT count(*) FROM :"files" WHERE processing_status = 'processing' AND processing_queued_at >= moments.begins)
       + (SELECT count(*) FROM ended WHERE queued_at >= moments.begins) AS came,
       (SELECT count(*) FROM ended) AS ended
  FROM moments;
