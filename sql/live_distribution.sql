-- How many files each server has in the live states: the part of distribution.sql that moves.
--
-- psql "$DATABASE_URL" -v env=development -f sql/live_distribution.sql
--
-- Exact, of this moment, through the partial indexes.
\ir _session.sql
SELECT NULL AS processing_server_id, 'queued' AS processing_status, count(*) AS file_count
  FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
HAVING count(*) > 0
UNION ALL
SELECT processing_server_id, processing_status, count(*)
  FROM :"files" WHERE processing_status = 'processing' AND deleted IS NOT TRUE
 GROUP BY processing_server_id, processing_status
 ORDER BY processing_server_id NULLS FIRST, processing_status;
