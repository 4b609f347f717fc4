-- The nodes whose child is there, by name: a session bears the name of their boot.
--
-- psql "$DATABASE_URL" -v env=development -f sql/ready_nodes.sql
--
-- Not behind a pooler, whose sessions are nobody's; and only its own role sees a session's application_name
-- (opskit ENVIRONMENT BOOT SERVER).
\ir _session.sql
SELECT n.server_id
  FROM :"nodes" AS n
 WHERE n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
   AND EXISTS (SELECT FROM pg_stat_activity AS a
                WHERE a.datname = current_database()
                  AND starts_with(a.application_name, 'opskit ' || :'env' || ' ' || left(n.boot::text, 8)))
 ORDER BY n.server_id;
