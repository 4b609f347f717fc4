-- Cut over: from now on new rows are queued. Run it once the older processor is stopped or claims through opskit.
--
-- psql "$DATABASE_URL" -v env=development -f sql/queue_new.sql
--
-- Rows that are there already stay as they are; `opskit enqueue --existing` adopts them.
-- Revert with: ALTER TABLE ... ALTER COLUMN processing_status DROP DEFAULT (`opskit migrate --no-queue-new`).
\ir _session.sql
\ir _standing.sql
\ir _locks.sql
ALTER TABLE :"files" ALTER COLUMN processing_status SET DEFAULT 'queued';
