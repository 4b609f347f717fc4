-- Who holds a server ID now, and for how long: asked when registering it was refused.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=node-a -f sql/alive.sql
--
-- server_id   the node
\ir _session.sql
SELECT host, pid, started_at, boot, extract(epoch FROM lease_until - clock_timestamp())::float8 AS lease_left_seconds
  FROM :"nodes" WHERE server_id = :'server_id';
