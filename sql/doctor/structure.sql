-- What is there and yet does not hold: our triggers switched off, an id that is not unique, a table that a crash empties.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/structure.sql
--
-- kind: trigger, id or unlogged; mend is the statement for it.
\ir ../_session.sql
SELECT 'trigger' AS kind, t.tgname::text AS name, format('ALTER TABLE %s ENABLE TRIGGER %I;', t.tgrelid::regclass, t.tgname) AS mend
  FROM pg_trigger AS t
 WHERE t.tgrelid = to_regclass(quote_ident(:'files')) AND t.tgname IN (:'guard', :'guard_new', :'wake')
   AND t.tgenabled NOT IN ('O', 'A')
UNION ALL
SELECT 'id', c.relname, format('CREATE UNIQUE INDEX CONCURRENTLY ON %s (id);', c.oid::regclass)
  FROM pg_class AS c
 WHERE c.oid = to_regclass(quote_ident(:'files'))
   AND NOT EXISTS (SELECT FROM pg_index AS i
                     JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                      AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id')
UNION ALL
SELECT 'unlogged', c.relname, format('ALTER TABLE %s SET LOGGED;', c.oid::regclass)
  FROM pg_class AS c
 WHERE c.oid IN (to_regclass(quote_ident(:'files')), to_regclass(quote_ident(:'nodes')), to_regclass(quote_ident(:'events')))
   AND c.relpersistence = 'u';
