-- A node in quarantine has claimed a file as its probe: the next is due after a pause twice as long, at most 5 minutes.
--
-- psql: for nodes; an operator has resume.sql.
--
-- server_id, boot   the node
--
-- claim.sql lets a node in quarantine through when its probe is due. If the child dies before it has said so here, its
-- next claim is a probe, too.
\ir _session.sql
UPDATE :"nodes"
   SET probe_seconds = least(300, 2 * probe_seconds),
       probe_at = clock_timestamp() + least(300, 2 * probe_seconds) * interval '1 second'
 WHERE server_id = :'server_id' AND boot = :'boot'::uuid AND state = 'quarantined'
RETURNING probe_seconds;
