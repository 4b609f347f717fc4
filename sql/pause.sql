-- Pause a node, or all: no claim that begins after this is committed; a claim in flight may land. Work in hand goes on.
--
-- psql "$DATABASE_URL" -v env=development -v scope='*' -v actor=me -v reason='disk full' -f sql/pause.sql
--
-- scope           a server ID, or * for all
-- actor, reason   who and why, for the history
--
-- refused says why nothing was done: there is no such node. A node that registers this very moment learns of a pause with
-- its first claim or its next heartbeat.
\ir _session.sql
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH known AS MATERIALIZED (
    SELECT :'scope'::text AS scope
     WHERE :'scope' = '*' OR EXISTS (SELECT FROM :"nodes" WHERE server_id = :'scope')
           OR EXISTS (SELECT FROM :"pauses" WHERE scope = :'scope')
), paused AS (
    INSERT INTO :"pauses" (scope, actor, reason) SELECT scope, :'actor', :'reason' FROM known
    ON CONFLICT (scope) DO NOTHING
    RETURNING scope
), told AS (
    UPDATE :"nodes" AS n SET paused = true
      FROM (SELECT server_id FROM :"nodes" WHERE :'scope' IN ('*', server_id) ORDER BY server_id FOR NO KEY UPDATE) AS m
     WHERE n.server_id = m.server_id
), noted AS (
    INSERT INTO :"events" (kind, server_id, reason, actor) SELECT 'pause', scope, :'reason', :'actor' FROM paused
)
SELECT :'scope' AS scope, EXISTS (SELECT FROM paused) AS changed,
       CASE WHEN NOT EXISTS (SELECT FROM known) THEN 'there is no node ' || quote_literal(:'scope') END AS refused;
