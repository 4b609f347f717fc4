-- Who has one file: its state, and the server that holds it or held it last.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -f sql/holder.sql
--
-- id   the file
\ir _session.sql
SELECT id::text AS id, original_filename, processing_status AS status, processing_server_id AS server_id,
       processing_started_at AS started_at, processing_completed_at AS completed_at,
       processing_attempt AS attempt, processing_errors AS errors, deleted IS TRUE AS deleted
  FROM :"files" WHERE id = :'id';
