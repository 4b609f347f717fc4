-- Close the breaker: a file that was claimed while it was open has been completed. Answers the record, or no row.
--
-- psql: for nodes; an operator has resume.sql.
--
-- server_id   the node that saw it
--
-- Whoever polls while it is open asks, so that a node that dies once its probe has gone well keeps nobody waiting.
-- The record stays, closed: a node's role may not delete pauses, and the next opening takes it over.
\ir _session.sql
WITH closed AS (
    UPDATE :"pauses" AS p SET closed_at = clock_timestamp()
     WHERE p.scope = ' breaker' AND p.closed_at IS NULL
       AND EXISTS (SELECT FROM :"files" AS f
                    WHERE f.processing_status IN ('completed', 'failed') AND f.processing_status = 'completed'
                      AND f.processing_completed_at >= p.at AND f.processing_started_at >= p.at)
    RETURNING p.reason, extract(epoch FROM clock_timestamp() - p.at)::float8 AS open_seconds
), told AS (
    -- NULL: in doubt, whether an operator's pause came this moment; the next heartbeat says.
    UPDATE :"nodes" AS n SET paused = NULL
      FROM (SELECT server_id FROM :"nodes" WHERE EXISTS (SELECT FROM closed) ORDER BY server_id FOR NO KEY UPDATE) AS m
     WHERE n.server_id = m.server_id
), noted AS (
    INSERT INTO :"events" (kind, outcome, server_id, reason, actor)
    SELECT 'breaker', 'closed', :'server_id', 'a file went well again; it was: ' || reason, :'server_id' FROM closed
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM closed)
)
SELECT closed.reason, closed.open_seconds FROM closed LEFT JOIN woken ON true;
