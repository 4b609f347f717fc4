-- Resume a node, or all: ends the pause of that scope, and the quarantine of the nodes that it names.
--
-- psql "$DATABASE_URL" -v env=development -v scope='*' -v actor=me -v reason='disk grown' -f sql/resume.sql
--
-- scope           a server ID, or * for the pause of all, every quarantine (a node paused by name stays paused) and the breaker
-- actor, reason   who and why, for the history
--
-- unpaused   whether a pause of this scope was ended
-- closed     whether the breaker was open, and is closed
-- cured      the nodes that left quarantine; what they failed before is forgiven
-- held       what still pauses them: after * the nodes that are paused by name, after a name * where all are paused
-- refused    why nothing was done: there is no such node
--
-- Whether another pause came this moment cannot be seen: the node's row says so with its next heartbeat. Until then its
-- files cost three statements, not one.
\ir _session.sql
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH known AS MATERIALIZED (
    SELECT 1
     WHERE :'scope' = '*' OR EXISTS (SELECT FROM :"nodes" WHERE server_id = :'scope')
           OR EXISTS (SELECT FROM :"pauses" WHERE scope = :'scope')
), gone AS (
    DELETE FROM :"pauses" WHERE scope = :'scope' OR :'scope' = '*' AND scope = ' breaker'
    RETURNING scope, kind, reason, closed_at
), resumed AS (
    SELECT scope FROM gone WHERE kind = 'pause'
), closed AS (
    INSERT INTO :"events" (kind, outcome, server_id, reason, actor)
    SELECT 'breaker', 'closed', '*', concat_ws('; it was: ', nullif(:'reason', ''), reason), :'actor'
      FROM gone WHERE kind = 'breaker' AND closed_at IS NULL
    RETURNING id
), told AS (
    UPDATE :"nodes" AS n
       SET paused = CASE WHEN EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id) AND p.scope <> :'scope')
                         THEN true END,
           state = CASE WHEN m.cured THEN 'active' ELSE n.state END,
           probe_at = CASE WHEN m.cured THEN NULL ELSE n.probe_at END,
           probe_seconds = CASE WHEN m.cured THEN 15 ELSE n.probe_seconds END,
           streak_at = CASE WHEN m.cured THEN NULL ELSE n.streak_at END,
           cleared_at = CASE WHEN m.cured THEN clock_timestamp() ELSE n.cleared_at END
      FROM (SELECT server_id, state = 'quarantined' AS cured FROM :"nodes"
             WHERE :'scope' IN ('*', server_id) ORDER BY server_id FOR NO KEY UPDATE) AS m
     WHERE n.server_id = m.server_id
    RETURNING n.server_id AS scope, m.cured
), changed AS (
    SELECT scope FROM resumed UNION SELECT scope FROM told WHERE cured
), noted AS (
    INSERT INTO :"events" (kind, server_id, reason, actor) SELECT 'resume', scope, :'reason', :'actor' FROM changed
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM changed) OR EXISTS (SELECT FROM closed)
)
SELECT :'scope' AS scope, EXISTS (SELECT FROM changed) OR EXISTS (SELECT FROM closed) AS changed,
       EXISTS (SELECT FROM resumed) AS unpaused, EXISTS (SELECT FROM closed) AS closed,
       ARRAY(SELECT scope FROM told WHERE cured ORDER BY scope) AS cured,
       ARRAY(SELECT scope FROM :"pauses" WHERE scope <> :'scope' AND '*' IN (scope, :'scope') AND kind = 'pause'
              ORDER BY scope) AS held,
       CASE WHEN NOT EXISTS (SELECT FROM known) THEN 'there is no node ' || quote_literal(:'scope') END AS refused
  FROM (SELECT 1) AS one LEFT JOIN woken ON true;
