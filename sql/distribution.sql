-- How many files each server has in each state; rows with a status, deleted ones excluded.
--
-- psql "$DATABASE_URL" -v env=development -f sql/distribution.sql
--
-- A file that waits in the queue belongs to no server yet.
\ir _session.sql
SELECT processing_server_id, processing_status, count(*) AS file_count
  FROM :"files"
 WHERE processing_status IS NOT NULL AND deleted IS NOT TRUE
 GROUP BY processing_server_id, processing_status
 ORDER BY processing_server_id NULLS FIRST, processing_status;
