-- Spare the silent: after an outage of the database, each node that is silent now has a whole lease to come back before
-- anybody, by whichever door, judges it. Run by each node that comes back.
--
-- psql: for nodes; an operator has no use for it.
--
-- Nobody could beat while the database was away, so a lease that ran out proves nothing. The first look is dated ahead: a
-- look is old enough after a third of a lease (cleanup.sql), and this one after a whole lease.
-- A row that is locked belongs to somebody who beats.
\ir _session.sql
WITH silent AS MATERIALIZED (
    SELECT server_id FROM :"nodes" WHERE lease_until < clock_timestamp() AND stopped_at IS NULL
     ORDER BY server_id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE :"nodes" AS n
   SET looked_lease = n.lease_until, looked_at = clock_timestamp() + n.lease_seconds * 2 / 3 * interval '1 second'
  FROM silent WHERE n.server_id = silent.server_id
RETURNING n.server_id;
