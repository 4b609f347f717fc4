-- Whether this role may open and close the breaker: no row, or the pauses table with the statement that mends it.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/breaker_privileges.sql
--
-- reading   true: only what page and statistics need (default false)
--
-- A role that may not even read the table is privileges.sql's finding.
\ir ../_session.sql
\if :{?reading} \else \set reading false \endif
SELECT c.oid::regclass::text AS name,
       pg_catalog.format('GRANT INSERT, UPDATE (at, actor, reason, details, next_probe_at, probe_seconds, closed_at) ON %s TO %I;',
              c.oid::regclass, current_user) AS mend
  FROM pg_class AS c
 WHERE c.oid = to_regclass(quote_ident(:'pauses')) AND NOT :'reading'::boolean
   AND has_table_privilege(c.oid, 'SELECT')
   -- The column is asked about only where it is, in whatever order the plan puts these conditions.
   AND NOT (has_table_privilege(c.oid, 'INSERT')
            AND CASE WHEN c.oid = to_regclass(quote_ident(:'pauses')) THEN has_column_privilege(c.oid, 'closed_at', 'UPDATE') END);
