-- What this role may not do although a node does it: one row for each table, with the statement that mends it.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/privileges.sql
--
-- reading   true: only what page and statistics need (default false)
--
-- The rights are those of roles.sql's node; on the files table a grant for our columns alone will do.
-- hidden: row-level security keeps rows from this role.
\ir ../_session.sql
\if :{?reading} \else \set reading false \endif
WITH needed (name, privilege, rank) AS (
    VALUES (:'files', 'SELECT', 1), (:'files', 'UPDATE', 3),
           (:'nodes', 'SELECT', 1), (:'nodes', 'INSERT', 2), (:'nodes', 'UPDATE', 3), (:'nodes', 'DELETE', 4),
           (:'events', 'SELECT', 1), (:'events', 'INSERT', 2), (:'events', 'DELETE', 4),
           (:'pauses', 'SELECT', 1),
           (:'logs', 'INSERT', 2), (:'logs', 'UPDATE', 3), (:'logs', 'DELETE', 4)
), ours AS MATERIALIZED (
    SELECT pg_catalog.string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
      FROM pg_attribute
     WHERE attrelid = to_regclass(quote_ident(:'files')) AND attname LIKE 'processing\_%' AND NOT attisdropped
       AND NOT has_column_privilege(attrelid, attnum, 'UPDATE')
), lacking AS (
    SELECT c.oid, pg_catalog.string_agg(privilege, ', ' ORDER BY rank) AS privileges,
           pg_catalog.string_agg(CASE WHEN needed.name = :'files' AND privilege = 'UPDATE'
                           THEN (SELECT pg_catalog.format('UPDATE (%s)', columns) FROM ours) ELSE privilege END,
                      ', ' ORDER BY rank) AS granted
      FROM needed JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(needed.name))
     WHERE (privilege = 'SELECT' OR NOT :'reading'::boolean)
       AND NOT has_table_privilege(c.oid, privilege)
       AND (privilege = 'DELETE' OR needed.name <> :'files'
            OR EXISTS (SELECT FROM pg_attribute AS a
                        WHERE a.attrelid = c.oid AND a.attname LIKE 'processing\_%' AND NOT a.attisdropped
                          AND NOT has_column_privilege(c.oid, a.attnum, privilege)))
     GROUP BY c.oid
)
SELECT oid::regclass::text AS name, privileges AS lacks, false AS hidden,
       pg_catalog.format(CASE WHEN oid = to_regclass(quote_ident(:'pauses')) AND NOT :'reading'::boolean
                       THEN 'GRANT %s, INSERT, UPDATE (at, actor, reason, details, next_probe_at, probe_seconds, closed_at) ON %s TO %I;'
                       WHEN oid = to_regclass(quote_ident(:'logs')) THEN 'GRANT SELECT, %s ON %s TO %I;'
                       ELSE 'GRANT %s ON %s TO %I;' END, granted, oid::regclass, current_user) AS mend
  FROM lacking
UNION ALL
SELECT c.oid::regclass::text, NULL, true,
       pg_catalog.format('CREATE POLICY opskit ON %s TO %I USING (true) WITH CHECK (true);', c.oid::regclass, current_user)
  FROM pg_class AS c
 WHERE c.oid = to_regclass(quote_ident(:'files')) AND row_security_active(c.oid)
   AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'opskit');
