-- How many files each server has in each state; rows with a status, deleted ones excluded.
--
-- psql "$DATABASE_URL" -v env=development -f sql/distribution.sql
--
-- A file that waits in the queue belongs to no server yet. Each part is read from its own index: what has ended takes
-- longest (a second at ten million files). Page and API read live_distribution.sql and ended.sql.
\ir _session.sql
SELECT NULL AS processing_server_id, 'queued' AS processing_status, count(*) AS file_count
  FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
HAVING count(*) > 0
UNION ALL
SELECT processing_server_id, processing_status, count(*)
  FROM :"files" WHERE processing_status = 'processing' AND deleted IS NOT TRUE
 GROUP BY processing_server_id, processing_status
UNION ALL
SELECT processing_server_id, processing_status, count(*)
  FROM :"files" WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
 GROUP BY processing_server_id, processing_status
 ORDER BY processing_server_id NULLS FIRST, processing_status;
