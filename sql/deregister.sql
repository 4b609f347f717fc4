-- A node says good-bye: its lease ends now, its server ID is free. Its row stays, for the record.
--
-- psql: for nodes; an operator has no use for it.
--
-- server_id, boot   the node; nothing happens when another boot has taken its place
-- reason            why it stops
\ir _session.sql
WITH stopped AS (
    UPDATE :"nodes"
       SET lease_until = least(lease_until, clock_timestamp()), stopped_at = clock_timestamp(), token = NULL,
           progress_done = NULL, progress_total = NULL, progress_at = NULL,
           state = CASE state WHEN 'draining' THEN 'active' ELSE state END
     WHERE server_id = :'server_id' AND boot = :'boot'::uuid
    RETURNING server_id, boot
)
INSERT INTO :"events" (kind, server_id, boot, reason, actor)
SELECT 'stop', server_id, boot, :'reason', server_id FROM stopped;
