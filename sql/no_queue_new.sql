-- Undo the cut-over: from now on new rows wait without a status, and no node claims them.
--
-- psql "$DATABASE_URL" -v env=development -f sql/no_queue_new.sql
\ir _session.sql
\ir _standing.sql
\ir _locks.sql
ALTER TABLE :"files" ALTER COLUMN processing_status DROP DEFAULT;
