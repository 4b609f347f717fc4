-- What one server ID has done: files in processing, completed and failed under it.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-a -f sql/server_counts.sql
--
-- server_id   the node
\ir _session.sql
SELECT count(*) FILTER (WHERE processing_status = 'processing') AS processing,
       count(*) FILTER (WHERE processing_status = 'completed') AS completed,
       count(*) FILTER (WHERE processing_status = 'failed') AS failed
  FROM :"files" WHERE processing_server_id = :'server_id' AND deleted IS NOT TRUE;
