-- What "completed" means here: can this be written to, when does a commit count, and who has to confirm it.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/durability.sql
--
-- wanted, there: standbys that must confirm a commit, and those connected that can; there is NULL when this role may not see.
\ir ../_session.sql
SELECT pg_is_in_recovery() AS is_standby, current_setting('default_transaction_read_only') = 'on' AS is_read_only,
       -- What a connection that is read-only of its own will would be without it.
       (SELECT s.reset_val = 'on' FROM pg_settings AS s WHERE s.name = 'default_transaction_read_only') AS read_only_at_first,
       current_setting('synchronous_commit') AS synchronous_commit,
       -- Where it was set: for the role or the database, or for all.
       (SELECT s.source FROM pg_settings AS s WHERE s.name = 'synchronous_commit') AS set_by,
       (SELECT s.source FROM pg_settings AS s WHERE s.name = 'default_transaction_read_only') AS read_only_by,
       quote_ident(current_database()) AS database, quote_ident(current_user) AS role,
       CASE WHEN names = '' THEN 0 ELSE coalesce(substring(names FROM '(\d+)\s*\(')::int, 1) END AS wanted,
       CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN
            (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming') END AS there
  FROM (SELECT btrim(current_setting('synchronous_standby_names')) AS names) AS standbys;
