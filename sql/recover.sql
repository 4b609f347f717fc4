-- A node in quarantine has completed a file: its quarantine is over, and what it failed before is forgiven.
--
-- psql: for nodes; an operator has resume.sql.
--
-- server_id, boot   the node
\ir _session.sql
WITH recovered AS (
    UPDATE :"nodes"
       SET state = 'active', probe_at = NULL, probe_seconds = DEFAULT, streak_at = NULL, cleared_at = clock_timestamp()
     WHERE server_id = :'server_id' AND boot = :'boot'::uuid AND state = 'quarantined'
    RETURNING server_id, boot
), noted AS (
    INSERT INTO :"events" (kind, outcome, server_id, boot, actor, reason)
    SELECT 'state', 'active', server_id, boot, server_id, 'it completed a file: its quarantine is over' FROM recovered
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM recovered)
)
SELECT recovered.server_id FROM recovered LEFT JOIN woken ON true;
