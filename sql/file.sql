-- One file as it stands now.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -f sql/file.sql
--
-- id   the file
\ir _session.sql
\ir _lane.sql
SELECT id::text AS id, original_filename, storage_path, file_size, uploaded_at, processing_status, processing_server_id,
       processing_queued_at, processing_arrived_at, processing_started_at, processing_completed_at, processing_attempt,
       coalesce(processing_failures, 0) AS processing_failures, processing_errors, processing_result,
       deleted IS TRUE AS deleted,
       CASE :'lane_column' WHEN 'processing_status' THEN NULL ELSE :"lane_column"::text END AS lane
  FROM :"files" WHERE id = :'id';
