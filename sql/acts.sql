-- What was done, newest first: one row an act, however many files or nodes it changed.
--
-- psql "$DATABASE_URL" -v env=development -f sql/acts.sql
--
-- row_limit   most acts (default 100)
--
-- act          the number of its last event: what undo is told
-- kind         requeue, cancel, expedite, cleanup, pause, resume, state, adopt, migrate, forget
-- by_node      a node did it by itself
-- event_count, file_count   how many events it left, and of how many files
-- file_ids, server_ids      the first five of them; * stands for all nodes
-- changed      how many went from which state to which
-- undo         what would undo it: requeue what it failed, resume what it paused; NULL: nothing would, or nothing is left
--
-- Events of one kind, by one actor, for one reason are one act while no more than 10 seconds lie between two of them.
-- Read are the newest 20,000 events of each kind, and of cleanups those among the newest 20,000 of all.
\ir _session.sql
\if :{?row_limit} \else \set row_limit 100 \endif
WITH told AS MATERIALIZED (
    SELECT e.*
      FROM pg_catalog.unnest(ARRAY['requeue', 'cancel', 'expedite', 'pause', 'resume', 'state', 'adopt', 'migrate', 'forget'])
           AS wanted (kind)
     CROSS JOIN LATERAL (
           SELECT id, at, kind, outcome, next_status, file_id, server_id, attempt, actor, nullif(reason, '') AS reason
             FROM :"events" WHERE kind = wanted.kind AND kind <> 'attempt' ORDER BY id DESC LIMIT 20000) AS e
     UNION ALL
    SELECT id, at, 'cleanup', 'processing', next_status, file_id, server_id, attempt, actor, nullif(details ->> 'said', '')
      FROM (SELECT * FROM :"events" ORDER BY id DESC LIMIT 20000) AS newest
     WHERE kind = 'attempt' AND details @> '{"cleanup": true}'
), steps AS (
    SELECT told.*, coalesce(at - pg_catalog.lag(at) OVER (PARTITION BY kind, actor, reason ORDER BY id) > interval '10 seconds', true)
                   AS begins
      FROM told
), numbered AS (
    SELECT steps.*, count(*) FILTER (WHERE begins) OVER (PARTITION BY kind, actor, reason ORDER BY id) AS number FROM steps
), together AS MATERIALIZED (
    SELECT numbered.*, max(id) OVER (PARTITION BY kind, actor, reason, number) AS act FROM numbered
), chosen AS MATERIALIZED (
    SELECT act, kind, actor, reason, min(at) AS at, count(*) AS event_count, pg_catalog.count(DISTINCT file_id) AS file_count,
           (pg_catalog.array_agg(file_id ORDER BY id) FILTER (WHERE file_id IS NOT NULL))[1:5] AS file_ids,
           (pg_catalog.array_agg(DISTINCT server_id) FILTER (WHERE server_id IS NOT NULL))[1:5] AS server_ids
      FROM together GROUP BY act, kind, actor, reason
     ORDER BY act DESC LIMIT :'row_limit'::int
), tallies AS (
    SELECT act, pg_catalog.string_agg(pg_catalog.format('%s %s', n, step), ', ' ORDER BY n DESC, step) AS changed
      FROM (SELECT act, count(*) AS n, pg_catalog.concat_ws(' -> ', outcome, next_status) AS step
              FROM together WHERE act IN (SELECT act FROM chosen) GROUP BY act, outcome, next_status) AS counted
     WHERE step <> '' GROUP BY act
), standing AS (
    SELECT (SELECT max(e.id) FROM :"events" AS e WHERE e.server_id = p.scope AND e.kind = 'pause') AS id
      FROM :"pauses" AS p WHERE p.kind = 'pause'
), undoable AS (
    SELECT DISTINCT t.act FROM together AS t
     WHERE t.kind = 'pause' AND t.id IN (SELECT id FROM standing)
        OR t.kind IN ('cleanup', 'cancel') AND t.next_status IN ('failed', 'processing')
           AND t.act IN (SELECT act FROM chosen)
           AND NOT EXISTS (SELECT FROM :"events" AS later
                            WHERE later.file_id = t.file_id AND later.id > t.id
                              AND NOT (later.kind = 'attempt' AND later.outcome = 'cancelled'
                                       AND later.attempt IS NOT DISTINCT FROM t.attempt))
)
SELECT c.act, c.at, c.kind, c.actor,
       EXISTS (SELECT FROM :"nodes" AS n WHERE n.server_id = c.actor)
       OR EXISTS (SELECT FROM :"events" AS e WHERE e.server_id = c.actor AND e.kind = 'boot') AS by_node,
       c.event_count, c.file_count, c.file_ids, c.server_ids, tallies.changed, c.reason,
       CASE WHEN undoable.act IS NOT NULL THEN CASE c.kind WHEN 'pause' THEN 'resume' ELSE 'requeue' END END AS undo
  FROM chosen AS c LEFT JOIN tallies ON tallies.act = c.act LEFT JOIN undoable ON undoable.act = c.act
 ORDER BY c.act DESC;
