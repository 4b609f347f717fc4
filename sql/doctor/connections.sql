-- How many connections are left, by whatever limits them: the server, the database, the role.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/connections.sql
--
-- live: nodes whose lease runs; each has two connections.
\ir ../_session.sql
WITH me AS MATERIALIZED (
    SELECT r.rolsuper, r.rolconnlimit, d.datconnlimit, r.oid AS role, d.oid AS database
      FROM pg_roles AS r CROSS JOIN pg_database AS d WHERE r.rolname = current_user AND d.datname = current_database()
), used AS MATERIALIZED (
    SELECT count(*) AS by_all, count(*) FILTER (WHERE a.datid = me.database) AS by_database,
           count(*) FILTER (WHERE a.usesysid = me.role) AS by_role
      -- Of other roles' sessions the kind may be hidden.
      FROM pg_stat_activity AS a CROSS JOIN me WHERE coalesce(a.backend_type, 'client backend') = 'client backend' AND a.datid IS NOT NULL
), limits AS (
    SELECT 'server' AS kind, by_all AS used,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0) AS most,
           'ALTER SYSTEM SET max_connections = ' || current_setting('max_connections')::int * 2 || ';' AS mend
      FROM used
    UNION ALL
    SELECT 'database', by_database, datconnlimit, pg_catalog.format('ALTER DATABASE %I CONNECTION LIMIT %s;', current_database(), datconnlimit * 2 + 20)
      FROM used CROSS JOIN me WHERE datconnlimit >= 0 AND NOT rolsuper
    UNION ALL
    SELECT 'role', by_role, rolconnlimit, pg_catalog.format('ALTER ROLE %I CONNECTION LIMIT %s;', current_user, rolconnlimit * 2 + 20)
      FROM used CROSS JOIN me WHERE rolconnlimit >= 0 AND NOT rolsuper
)
SELECT kind, used, most, mend,
       (SELECT count(*) FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL) AS live
  FROM limits ORDER BY most - used;
