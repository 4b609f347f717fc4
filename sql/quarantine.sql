-- Judge a node whose attempts end badly in a row: it goes into quarantine if others completed what it failed.
--
-- psql: for nodes; an operator has pause.sql.
--
-- server_id, boot     the node
-- ids, since, again   what bad_attempts.sql answers: files that it failed, when the first and last of these attempts began
-- after               how many of these files others must have completed
--
-- Answers the node and the reason when it is in quarantine now, else no row.
--
-- Evidence is a file that this node failed and another node then completed, before this node failed yet another one: who
-- fails only while everybody does is well. A file that failed elsewhere, too, is no evidence: the file is to blame.
-- The last node that claims never goes, nor more than half of the fleet. So that nodes that judge at once agree on that,
-- the fleet's rows are locked, in one order, and counted as they stand then: a plain count, or an advisory lock, would
-- count what the statement's snapshot saw, and took four of four. No evidence, no lock. Claims do not wait for it; a
-- heartbeat does, for a moment, and nobody waits longer than a second.
--
-- `|| ''` keeps the planner to the ids: what has completed, and what a node has failed, fill many pages of their indexes.
\ir _session.sql
WITH evidence AS MATERIALIZED (
    SELECT f.id::text AS id, f.original_filename AS name, f.processing_server_id AS completed_by,
           f.processing_completed_at AS completed_at,
           (SELECT left(coalesce(substring(e.reason FROM '([^\n]*\S)\s*$'), e.outcome), 300) FROM :"events" AS e
             WHERE e.file_id = f.id::text AND e.server_id || '' = :'server_id' AND e.kind = 'attempt'
               AND e.outcome IN ('raised', 'crashed')
             ORDER BY e.id DESC LIMIT 1) AS error
      FROM :"files" AS f
     WHERE f.id = ANY (:'ids') AND f.processing_status || '' = 'completed' AND f.processing_server_id <> :'server_id'
       AND f.processing_completed_at < nullif(:'again', '')::timestamptz
       AND NOT EXISTS (SELECT FROM :"events" AS e
                        WHERE e.file_id = f.id::text AND e.kind = 'attempt' AND e.outcome IN ('raised', 'crashed')
                          AND e.server_id <> :'server_id')
), fleet AS MATERIALIZED (
    SELECT n.server_id, n.state, n.cleared_at,
           n.state = 'active' AND n.paused IS NOT TRUE
           AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id)) AS claims
      FROM :"nodes" AS n
     WHERE (SELECT count(*) >= :'after'::int FROM evidence)
       AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
       AND set_config('lock_timeout', '1s', true) IS NOT NULL
     ORDER BY n.server_id
       FOR NO KEY UPDATE
), verdict AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE claims AND server_id <> :'server_id') >= 1
           AND 2 * (count(*) FILTER (WHERE state = 'quarantined') + 1) <= count(*) FILTER (WHERE state <> 'draining')
           -- Whoever resumed it meanwhile has forgiven what came before.
           AND bool_or(server_id = :'server_id' AND state = 'active'
                       AND coalesce(cleared_at < nullif(:'since', '')::timestamptz, true)) AS sick
      FROM fleet
), sick AS (
    UPDATE :"nodes" AS n
       SET state = 'quarantined', probe_at = clock_timestamp() + n.probe_seconds * interval '1 second', streak_at = NULL
     WHERE n.server_id = :'server_id' AND n.boot = :'boot'::uuid AND n.state = 'active' AND (SELECT sick FROM verdict)
    RETURNING n.server_id, n.boot
), said AS (
    SELECT pg_catalog.format('%s %s then completed by other nodes, as %s: %s', count(*),
                  CASE count(*) WHEN 1 THEN 'file that it failed was' ELSE 'files that it failed were' END,
                  (pg_catalog.array_agg(name ORDER BY completed_at DESC))[1], (pg_catalog.array_agg(error ORDER BY completed_at DESC))[1]) AS reason,
           pg_catalog.jsonb_build_object('files', jsonb_path_query_array(
               pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('id', id, 'name', name, 'error', error, 'completedBy', completed_by)
                         ORDER BY completed_at DESC), '$[0 to 9]'), 'count', count(*)) AS details
      FROM evidence
), noted AS (
    INSERT INTO :"events" (kind, outcome, server_id, boot, actor, reason, details)
    SELECT 'state', 'quarantined', sick.server_id, sick.boot, sick.server_id, said.reason, said.details FROM sick, said
)
SELECT sick.server_id, said.reason FROM sick, said;
