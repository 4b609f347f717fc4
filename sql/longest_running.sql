-- The files in processing, oldest claim first.
--
-- psql "$DATABASE_URL" -v env=development -f sql/longest_running.sql
--
-- row_limit   most rows (default 10)
\ir _session.sql
\if :{?row_limit} \else \set row_limit 10 \endif
SELECT original_filename, processing_server_id, processing_started_at,
       CASE WHEN processing_started_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM processing_started_at), -1e10), 1e10) END::float8 / 60 AS minutes_processing
  FROM :"files"
 WHERE processing_status = 'processing' AND deleted IS NOT TRUE
 ORDER BY processing_started_at NULLS FIRST, id
 LIMIT :'row_limit'::int;
