-- What is there and yet does not hold: an id that is not unique, a table that a crash empties, a schema open to all.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/structure.sql
--
-- kind: id, unlogged or schema; mend is the statement for it.
\ir ../_session.sql
SELECT 'id' AS kind, c.relname::text AS name, pg_catalog.format('CREATE UNIQUE INDEX CONCURRENTLY ON %s (id);', c.oid::regclass) AS mend
  FROM pg_class AS c
 WHERE c.oid = to_regclass(quote_ident(:'files'))
   AND NOT EXISTS (SELECT FROM pg_index AS i
                     JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                      AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id')
UNION ALL
SELECT 'unlogged', c.relname, pg_catalog.format('ALTER TABLE %s SET LOGGED;', c.oid::regclass)
  FROM pg_class AS c
 WHERE c.oid IN (to_regclass(quote_ident(:'files')), to_regclass(quote_ident(:'nodes')), to_regclass(quote_ident(:'events')))
   AND c.relpersistence = 'u'
UNION ALL
SELECT 'schema', n.nspname, pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', n.nspname)
  FROM pg_namespace AS n JOIN pg_class AS c ON c.relnamespace = n.oid
 WHERE c.oid = to_regclass(quote_ident(:'files')) AND has_schema_privilege('public', n.oid, 'CREATE');
