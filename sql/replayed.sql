-- One file as a replay needs it: where its bytes are, its attempt, and how that ended.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -f sql/replayed.sql
--
-- id   the file
--
-- error, place   the identity of the stored error, NULL where there is none of this attempt
\ir _session.sql
SELECT id::text AS id, original_filename, storage_path, file_size::bigint AS file_size, processing_status,
       coalesce(processing_attempt, 0) AS attempt, coalesce(processing_failures, 0) AS failures, processing_errors,
       CASE WHEN processing_failure ->> 'attempt' = processing_attempt::text THEN processing_failure ->> 'error' END AS error,
       CASE WHEN processing_failure ->> 'attempt' = processing_attempt::text THEN processing_failure ->> 'place' END AS place
  FROM :"files" WHERE id = :'id';
