-- The breaker, while it is open: since when, for which error, when it tries the next file, how many files wait.
--
-- psql "$DATABASE_URL" -v env=development -f sql/breaker.sql
--
-- row_limit   bound of the count of waiting files (default 10001)
--
-- No row: it is closed. While probing is true, a file that was claimed since it opened is being processed.
\ir _session.sql
\if :{?row_limit} \else \set row_limit 10001 \endif
SELECT p.at, p.actor, p.reason, p.details ->> 'error' AS error, nullif(p.details ->> 'place', '') AS place,
       p.next_probe_at, extract(epoch FROM clock_timestamp() - p.at)::float8 AS open_seconds,
       extract(epoch FROM p.next_probe_at - clock_timestamp())::float8 AS probe_in_seconds,
       EXISTS (SELECT FROM :"files" AS f
                WHERE f.processing_status = 'processing' AND f.processing_started_at >= p.at) AS probing,
       (SELECT count(*) FROM (SELECT 1 FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                               ORDER BY processing_queued_at, id LIMIT :'row_limit'::int) AS first) AS waiting
  FROM :"pauses" AS p
 WHERE p.kind = 'breaker' AND p.closed_at IS NULL;
