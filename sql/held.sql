-- What a server ID holds: the claims with a token that are its own. One at most, unless something is wrong.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-a -f sql/held.sql
--
-- server_id   whose claims
\ir _session.sql
SELECT id::text AS id, original_filename, storage_path, file_size::bigint AS file_size, processing_attempt AS attempt,
       coalesce(processing_failures, 0) AS failures, processing_queued_at::text AS queued_at,
       processing_token AS token, processing_epoch AS epoch
  FROM :"files"
 WHERE processing_status = 'processing' AND processing_server_id = :'server_id' AND processing_token IS NOT NULL
 ORDER BY processing_epoch;
