-- A node whose last files all went wrong takes itself out of service, if others meanwhile succeed.
--
-- psql: for nodes; an operator has pause.sql.
--
-- server_id       the node
-- streak          how many of its attempts in a row ended badly
-- since_seconds   how long the streak has lasted
--
-- Answers the node when it is in quarantine now. If nobody succeeds, the fault is not the node's: it goes on.
\ir _session.sql
WITH sick AS (
    UPDATE :"nodes" AS n SET state = 'quarantined'
     WHERE n.server_id = :'server_id' AND n.state = 'active'
       AND EXISTS (SELECT FROM :"files" AS f
                    WHERE f.processing_status = 'completed' AND f.processing_server_id <> n.server_id
                      AND f.processing_completed_at >= now() - :'since_seconds'::float8 * interval '1 second')
    RETURNING n.server_id, n.boot
), noted AS (
    INSERT INTO :"events" (kind, outcome, server_id, boot, actor, reason)
    SELECT 'state', 'quarantined', server_id, boot, server_id,
           format('its last %s attempts all ended badly while others succeeded', :'streak'::text) FROM sick
)
SELECT server_id FROM sick;
