-- The application's triggers that fire at each claim and each completion, with the statement that spares them.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/triggers.sql
--
-- One that names its columns (UPDATE OF ...) has been thought about, and is left out. The statement names all columns
-- that are not ours: the trigger still fires at every update of the application's own.
\ir ../_session.sql
SELECT t.tgname::text AS name, t.tgfoid::regproc::text AS function, (t.tgtype & 1) = 1 AS is_row, (t.tgtype & 2) = 2 AS is_before,
       CASE WHEN t.tgconstraint <> 0 THEN pg_catalog.format('SELECT pg_get_functiondef(%s);', t.tgfoid)
            ELSE 'CREATE OR REPLACE TRIGGER ' || quote_ident(t.tgname)
                 || regexp_replace(substr(pg_get_triggerdef(t.oid), length('CREATE TRIGGER ' || quote_ident(t.tgname)) + 1),
                                   '\mUPDATE\M', 'UPDATE OF ' || own.columns) || ';' END AS mend
  FROM pg_trigger AS t
 CROSS JOIN (SELECT pg_catalog.string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns FROM pg_attribute
              WHERE attrelid = to_regclass(quote_ident(:'files')) AND attnum > 0 AND NOT attisdropped
                AND attname NOT LIKE 'processing\_%') AS own
 WHERE t.tgrelid = to_regclass(quote_ident(:'files')) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
   AND (t.tgtype & 16) = 16 AND t.tgattr = '' AND t.tgname NOT IN (:'guard', :'guard_new', :'wake')
 ORDER BY t.tgname;
