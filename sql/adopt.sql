-- Adopt rows from before: queue those without a status. One batch; run it again until it answers 0.
--
-- psql: `opskit enqueue --existing --where ...` is the door that takes a condition; this file adopts given ids.
-- psql "$DATABASE_URL" -v env=development -v ids='{17,18}' -v actor=me -f sql/adopt.sql
--
-- ids     the files; those that have a status already, or are deleted, are left alone
-- actor   who, for the history
\ir _session.sql
\ir _standing.sql
\if :{?actor} \else \set actor psql \endif
WITH updated AS (
    UPDATE :"files" SET processing_status = 'queued', processing_queued_at = clock_timestamp()
     WHERE id = ANY (:'ids') AND processing_status IS NULL AND deleted IS NOT TRUE
    RETURNING processing_status AS status
), adopted AS (
    -- What the table's own triggers have made of it, or let through.
    SELECT FROM updated WHERE status = 'queued'
), noted AS (
    INSERT INTO :"events" (kind, next_status, reason, actor)
    SELECT 'adopt', 'queued', count(*) || CASE count(*) WHEN 1 THEN ' row' ELSE ' rows' END || ' from before', :'actor' FROM adopted HAVING count(*) > 0
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM adopted)
)
SELECT count(*) AS adopted FROM adopted LEFT JOIN woken ON true;
