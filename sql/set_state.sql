-- Set what a node shall do: active, draining (finish and stop) or quarantined. Answers the node's name if it is there.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-a -v state=draining -v actor=me -v reason='kernel update' \
--      -f sql/set_state.sql
--
-- server_id       the node
-- state           active, draining or quarantined
-- actor, reason   who and why, for the history
\ir _session.sql
WITH changed AS (
    UPDATE :"nodes"
       SET state = :'state',
           probe_at = CASE :'state' WHEN 'quarantined' THEN clock_timestamp() + probe_seconds * interval '1 second' END
     WHERE server_id = :'server_id' AND stopped_at IS NULL
    RETURNING server_id, boot
), noted AS (
    INSERT INTO :"events" (kind, outcome, server_id, boot, actor, reason)
    SELECT 'state', :'state', server_id, boot, :'actor', :'reason' FROM changed
)
SELECT server_id FROM changed;
