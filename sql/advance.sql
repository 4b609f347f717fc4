-- Raise a node's epoch: waits for its claims in flight, deposes later ones that still use the old epoch.
--
-- psql: for nodes; an operator has no use for it.
--
-- server_id, boot   the node; no row when it is deposed
--
-- Also called every 200 claims: a constant key in the index of one file per node decays under a pinned xmin,
-- because checking its uniqueness walks all of the key's dead entries (1379 to 263 files/s after 10,000).
\ir _session.sql
UPDATE :"nodes"
   SET epoch = epoch + 1
 WHERE server_id = :'server_id' AND boot = :'boot'::uuid
RETURNING epoch;
