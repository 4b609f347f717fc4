-- Who keeps vacuum from removing dead rows: the holders of the oldest xmin, and sessions left in a transaction.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/horizon.sql
--
-- long_seconds       age from which a transaction is long (default 600)
-- old_transactions   age of an xmin that a standby holds, from which it is old (default 100000)
--
-- kind: session, prepared, slot, standby; or hidden: sessions of other roles that this role may not look at.
-- Transactions of other databases hold nothing back here. CREATE INDEX and VACUUM are left out: they end by themselves.
\ir ../_session.sql
\if :{?long_seconds} \else \set long_seconds 600 \endif
\if :{?old_transactions} \else \set old_transactions 100000 \endif
SELECT 'session' AS kind, a.pid::text AS name, extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds,
       pg_catalog.format('%s as %s, %s: %s', coalesce(nullif(a.application_name, ''), 'unnamed'), a.usename, a.state,
              regexp_replace(left(a.query, 60), '\s+', ' ', 'g')) AS about,
       pg_catalog.format(CASE WHEN a.state = 'active' THEN 'SELECT pg_cancel_backend(%s);' ELSE 'SELECT pg_terminate_backend(%s);' END,
              a.pid) AS mend
  FROM pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   AND a.xact_start < clock_timestamp() - :'long_seconds'::float8 * interval '1 second'
   AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL OR a.state LIKE 'idle in transaction%')
   AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = a.pid)
   AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS i WHERE i.pid = a.pid)
UNION ALL
SELECT 'prepared', p.gid, extract(epoch FROM clock_timestamp() - p.prepared)::float8, 'prepared by ' || p.owner,
       pg_catalog.format('ROLLBACK PREPARED %L;', p.gid)
  FROM pg_prepared_xacts AS p
 WHERE p.database = current_database() AND p.prepared < clock_timestamp() - :'long_seconds'::float8 * interval '1 second'
UNION ALL
SELECT 'slot', s.slot_name::text, NULL,
       pg_catalog.format('%s, %s transactions behind', CASE WHEN s.active THEN 'in use' ELSE 'nobody connected' END, age(s.xmin)),
       CASE WHEN s.active THEN pg_catalog.format('SELECT pg_terminate_backend(%s);', s.active_pid)
            ELSE pg_catalog.format('SELECT pg_drop_replication_slot(%L);', s.slot_name) END
  FROM pg_replication_slots AS s
 WHERE s.xmin IS NOT NULL AND (NOT s.active OR age(s.xmin) > :'old_transactions'::int)
UNION ALL
SELECT 'standby', coalesce(nullif(r.application_name, ''), r.pid::text), NULL, pg_catalog.format('%s transactions behind', age(r.backend_xmin)),
       pg_catalog.format('SELECT pg_terminate_backend(%s);', r.pid)
  FROM pg_stat_replication AS r
 WHERE age(r.backend_xmin) > :'old_transactions'::int
UNION ALL
SELECT 'hidden', count(*)::text, NULL, 'sessions of other roles', pg_catalog.format('GRANT pg_read_all_stats TO %I;', current_user)
  FROM pg_stat_activity AS a
 WHERE a.datname = current_database() AND a.usename <> current_user AND NOT pg_has_role('pg_read_all_stats', 'USAGE')
HAVING count(*) > 0
 ORDER BY 1, 3 DESC;
