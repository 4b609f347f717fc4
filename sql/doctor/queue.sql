-- Whether somebody is there for what is queued: files (counted up to a bound), live nodes, the active
-- ones, and those of them that are not paused, as their own rows say.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/queue.sql
--
-- row_limit   bound of the count (default 10001)
--
-- With ORDER BY, so that the queue's index is walked and not ten million finished rows.
\ir ../_session.sql
\if :{?row_limit} \else \set row_limit 10001 \endif
SELECT (SELECT count(*) FROM (SELECT 1 FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                               ORDER BY processing_queued_at, id LIMIT :'row_limit'::int) AS first) AS queued,
       count(*) AS live,
       count(*) FILTER (WHERE state = 'active') AS active,
       count(*) FILTER (WHERE state = 'active' AND paused IS NOT TRUE) AS claiming
  FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL;
