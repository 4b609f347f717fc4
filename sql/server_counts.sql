-- What one server ID has done: files in processing, completed and failed under it.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-a -f sql/server_counts.sql
--
-- server_id   the node
--
-- Read from the indexes alone; the API takes the ended ones from ended.sql.
\ir _session.sql
SELECT (SELECT count(*) FROM :"files"
         WHERE processing_status = 'processing' AND processing_server_id = :'server_id' AND deleted IS NOT TRUE) AS processing,
       count(*) FILTER (WHERE processing_status = 'completed') AS completed,
       count(*) FILTER (WHERE processing_status = 'failed') AS failed
  FROM :"files"
 WHERE processing_status IN ('completed', 'failed') AND processing_server_id = :'server_id' AND deleted IS NOT TRUE;
