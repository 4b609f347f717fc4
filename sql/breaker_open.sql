-- Open the breaker: no node claims until a file goes well, but for one probe at a time; what the error cost is given back.
--
-- psql: for nodes; an operator has pause.sql.
--
-- error, place   the identity of the error
-- ids, since     what breaker_evidence.sql answers: the files that it failed, and since when
-- server_id      the node that opens it
-- reason         the error in one line, for people
--
-- One record stands in the pauses table, of a kind of its own, under a scope that no server ID can be (a server ID does
-- not begin with a space) and that no node of an older version takes for its own. Of several that open it at once one
-- does, and answers opened; who comes second gives back what is its own (breaker_give_back.sql).
-- A file gets back each failure of this kind; one that they failed for good is queued again. Files that are locked this
-- moment keep what they have: their own attempt gives it back when it fails.
\ir _session.sql
WITH opened AS (
    INSERT INTO :"pauses" AS p (scope, kind, actor, reason, details, next_probe_at, probe_seconds)
    SELECT ' breaker', 'breaker', :'server_id', :'reason',
           pg_catalog.jsonb_build_object('error', :'error'::text, 'place', :'place'::text), clock_timestamp() + interval '1 second', 1
     WHERE NOT EXISTS (SELECT FROM :"files"
                        WHERE processing_status IN ('completed', 'failed') AND processing_status = 'completed'
                          AND processing_completed_at >= :'since'::timestamptz)
    ON CONFLICT (scope) DO UPDATE
       SET at = clock_timestamp(), actor = excluded.actor, reason = excluded.reason, details = excluded.details,
           next_probe_at = excluded.next_probe_at, probe_seconds = excluded.probe_seconds, closed_at = NULL
     WHERE p.closed_at IS NOT NULL
    RETURNING scope
), told AS (
    UPDATE :"nodes" AS n SET paused = true
      FROM (SELECT server_id FROM :"nodes" WHERE EXISTS (SELECT FROM opened) ORDER BY server_id FOR NO KEY UPDATE) AS m
     WHERE n.server_id = m.server_id
), cost AS MATERIALIZED (
    SELECT file_id, count(*)::int AS failures, max(attempt) AS attempt
      FROM (SELECT * FROM :"events" ORDER BY id DESC LIMIT 500) AS newest
     WHERE kind = 'attempt' AND details ->> 'kind' = 'world' AND at >= :'since'::timestamptz
       AND details ->> 'error' = :'error' AND coalesce(details ->> 'place', '') = :'place'
       AND EXISTS (SELECT FROM opened)
     GROUP BY file_id
), mine AS MATERIALIZED (
    SELECT f.id, f.processing_status AS status, f.processing_server_id AS server_id, f.processing_attempt AS attempt,
           f.processing_started_at AS started_at, f.processing_completed_at AS completed_at, cost.failures
      FROM :"files" AS f JOIN cost ON cost.file_id = f.id::text
     WHERE f.id = ANY (:'ids')
       AND (f.processing_status IN ('queued', 'processing')
            OR f.processing_status = 'failed' AND f.processing_attempt = cost.attempt)
     ORDER BY f.id
       FOR NO KEY UPDATE OF f SKIP LOCKED
), given AS (
    UPDATE :"files" AS f
       SET processing_failures = greatest(0, coalesce(f.processing_failures, 0) - mine.failures), processing_failure = NULL,
           processing_status = CASE f.processing_status WHEN 'failed' THEN 'queued' ELSE f.processing_status END,
           processing_queued_at = CASE f.processing_status WHEN 'processing' THEN f.processing_queued_at
                                                           ELSE clock_timestamp() END,
           processing_server_id = CASE f.processing_status WHEN 'failed' THEN NULL ELSE f.processing_server_id END,
           processing_started_at = CASE f.processing_status WHEN 'failed' THEN NULL ELSE f.processing_started_at END,
           processing_completed_at = CASE f.processing_status WHEN 'failed' THEN NULL ELSE f.processing_completed_at END
      FROM mine WHERE f.id = mine.id
    RETURNING f.id
), requeued AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, attempt, started_at, ended_at, reason, actor)
    SELECT 'requeue', 'failed', 'queued', mine.id::text, server_id, attempt, started_at, completed_at,
           'the breaker gives back what the world cost: ' || :'reason'::text, :'server_id'
      FROM mine JOIN given ON given.id = mine.id WHERE mine.status = 'failed'
), noted AS (
    INSERT INTO :"events" (kind, outcome, server_id, reason, actor, details)
    SELECT 'breaker', 'open', :'server_id', :'reason', :'server_id',
           pg_catalog.jsonb_build_object('error', :'error'::text, 'place', :'place'::text,
                              'givenBack', (SELECT coalesce(sum(failures), 0) FROM mine),
                              'requeued', (SELECT count(*) FROM mine WHERE status = 'failed'))
      FROM opened
)
SELECT EXISTS (SELECT FROM opened) AS opened, (SELECT count(*) FROM given) AS files,
       (SELECT count(*) FROM mine WHERE status = 'failed') AS requeued;
