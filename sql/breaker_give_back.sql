-- Give back a failure of the world that came while the breaker was open: a probe's, or that of an attempt under way.
--
-- psql: for nodes; an operator has requeue.sql.
--
-- id        the file
-- attempt   the attempt that failed
-- actor     the node
--
-- Answers the file's state, or no row: the breaker is closed, or the failure has been given back already. The row says for
-- which attempt its failure stands (processing_failure); what is given back says so no more.
\ir _session.sql
WITH mine AS MATERIALIZED (
    SELECT id, processing_status AS status, processing_server_id AS server_id, processing_attempt AS attempt,
           processing_started_at AS started_at, processing_completed_at AS completed_at
      FROM :"files"
     WHERE id = :'id' AND processing_attempt = :'attempt'::int AND processing_status IN ('queued', 'failed')
       AND (processing_failure ->> 'attempt')::int = :'attempt'::int
       AND EXISTS (SELECT FROM :"pauses" WHERE kind = 'breaker' AND closed_at IS NULL)
       FOR NO KEY UPDATE
), given AS (
    UPDATE :"files" AS f
       SET processing_failures = greatest(0, coalesce(f.processing_failures, 0) - 1), processing_failure = NULL,
           processing_status = 'queued', processing_queued_at = clock_timestamp(),
           processing_server_id = NULL, processing_started_at = NULL, processing_completed_at = NULL
      FROM mine WHERE f.id = mine.id
    RETURNING f.id
), requeued AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, attempt, started_at, ended_at, reason, actor)
    SELECT 'requeue', 'failed', 'queued', mine.id::text, server_id, attempt, started_at, completed_at,
           'the breaker is open: the failure is given back', :'actor'
      FROM mine JOIN given ON given.id = mine.id WHERE mine.status = 'failed'
)
SELECT id::text AS id FROM given;
