-- End what the sessions of a node's child are still at: it was killed, and its long statement would hold the row's lock.
--
-- psql: for nodes.
--
-- boot   the node's; its child's sessions are known by it, as in evict.sql. Answers their pids.
\ir _session.sql
SELECT pid, pg_terminate_backend(pid) AS ended
  FROM pg_stat_activity
 WHERE datname = current_database() AND xact_start IS NOT NULL AND pg_has_role(usesysid, 'USAGE')
   AND starts_with(application_name, pg_catalog.format('opskit %s %s ', :'env'::text, left(:'boot', 8)));
