-- Resume a node, or all: ends the pause of that scope; a named node also leaves quarantine.
--
-- psql "$DATABASE_URL" -v env=development -v scope='*' -v actor=me -v reason='disk grown' -f sql/resume.sql
--
-- scope           a server ID, or * for the pause of all (a node paused by name stays paused)
-- actor, reason   who and why, for the history
--
-- Whether another pause came this moment cannot be seen: the node's row says so with its next heartbeat. Until then its
-- files cost three statements, not one.
\ir _session.sql
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH resumed AS (
    DELETE FROM :"pauses" WHERE scope = :'scope' RETURNING scope
), told AS (
    UPDATE :"nodes" AS n
       SET paused = CASE WHEN EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id) AND p.scope <> :'scope')
                         THEN true END,
           state = CASE WHEN m.cured THEN 'active' ELSE n.state END
      FROM (SELECT server_id, server_id = :'scope' AND state = 'quarantined' AS cured FROM :"nodes"
             WHERE :'scope' IN ('*', server_id) ORDER BY server_id FOR NO KEY UPDATE) AS m
     WHERE n.server_id = m.server_id
    RETURNING n.server_id AS scope, m.cured
), changed AS (
    SELECT scope FROM resumed UNION SELECT scope FROM told WHERE cured
), noted AS (
    INSERT INTO :"events" (kind, server_id, reason, actor) SELECT 'resume', scope, :'reason', :'actor' FROM changed
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM changed)
)
SELECT :'scope' AS scope, EXISTS (SELECT FROM changed) AS changed FROM (SELECT 1) AS one LEFT JOIN woken ON true;
