-- How many files each server has ended since a moment.
--
-- psql "$DATABASE_URL" -v env=development -v since='2026-11-23 12:00' -f sql/ended_since.sql
--
-- since   the moment
\ir _session.sql
SELECT processing_server_id AS server_id,
       count(*) FILTER (WHERE processing_status = 'completed') AS completed,
       count(*) FILTER (WHERE processing_status = 'failed') AS failed
  FROM :"files"
 WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
   AND processing_completed_at >= :'since'::timestamptz
 GROUP BY processing_server_id
 ORDER BY processing_server_id;
