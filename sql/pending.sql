-- How many files are queued and in processing: the live states alone, from the partial indexes.
--
-- psql "$DATABASE_URL" -v env=development -f sql/pending.sql
\ir _session.sql
SELECT (SELECT count(*) FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE) AS queued,
       (SELECT count(*) FROM :"files" WHERE processing_status = 'processing') AS processing,
       clock_timestamp()::text AS now;
