-- What this role may not do although the migration does it. Answers one row; problem is NULL when there is nothing.
WITH files AS MATERIALIZED (
    SELECT c.* FROM pg_class AS c WHERE c.oid = to_regclass(quote_ident(:'files'))
)
SELECT coalesce(
    (SELECT :'files' || ' belongs to ' || pg_get_userbyid(relowner) || '; migrate as that role or as a superuser, or run: GRANT '
            || quote_ident(pg_get_userbyid(relowner)) || ' TO ' || quote_ident(current_user)
       FROM files WHERE NOT pg_has_role(relowner, 'USAGE')),
    (SELECT c.relname || ' belongs to ' || pg_get_userbyid(c.relowner) || ', and ' || :'files' || ' does not; run: ALTER TABLE '
            || c.oid::regclass || ' OWNER TO ' || quote_ident(current_user)
       FROM pg_class AS c
      WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname IN (:'nodes', :'events', :'pauses', :'logs')
        AND NOT pg_has_role(c.relowner, 'USAGE')
      ORDER BY c.relname LIMIT 1),
    (SELECT current_user || ' may create nothing in the schema ' || current_schema() || '; run: GRANT CREATE ON SCHEMA '
            || quote_ident(current_schema()) || ' TO ' || quote_ident(current_user)
      WHERE NOT has_schema_privilege(current_schema(), 'CREATE')),
    (SELECT current_user || ' lacks ' || pg_catalog.string_agg(privilege, ', ') || ' on its own table ' || :'files' || '; run: GRANT '
            || pg_catalog.string_agg(privilege, ', ') || ' ON ' || quote_ident(:'files') || ' TO ' || quote_ident(current_user)
       FROM files CROSS JOIN pg_catalog.unnest('{SELECT,INSERT,UPDATE}'::text[]) AS privilege
      WHERE NOT has_table_privilege(files.oid, privilege) HAVING count(*) > 0),
    (SELECT 'row-level security hides rows of ' || :'files' || ' from ' || current_user || '; run: CREATE POLICY opskit ON '
            || files.oid::regclass || ' TO ' || quote_ident(current_user) || ' USING (true) WITH CHECK (true)'
            || CASE WHEN EXISTS (SELECT FROM pg_policy WHERE polrelid = files.oid AND NOT polpermissive)
                    THEN ', and leave that role out of the restrictive policies' ELSE '' END
       FROM files
      WHERE row_security_active(files.oid)
        AND (EXISTS (SELECT FROM pg_policy AS p WHERE polrelid = files.oid AND NOT polpermissive
                        AND EXISTS (SELECT FROM pg_catalog.unnest(polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE')))
             OR NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = files.oid AND polpermissive AND polcmd = '*'
                               AND pg_get_expr(polqual, polrelid) = 'true'
                               AND coalesce(pg_get_expr(polwithcheck, polrelid), 'true') = 'true'
                               AND EXISTS (SELECT FROM pg_catalog.unnest(polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE'))))))
    AS problem
\gset
