-- The application's own indexes that each claim and each completion writes to, the least used first.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/indexes.sql
--
-- A claim can never be HOT: the status is in our indexes' predicates. Every index of the table then gets an entry,
-- twice a file; partial ones, which may leave the row out, and the primary key, which must be there, are not told.
\ir ../_session.sql
SELECT i.indexrelid::regclass::text AS name, s.idx_scan AS scans, pg_relation_size(i.indexrelid) AS bytes, i.indisunique AS is_unique,
       pg_catalog.format('DROP INDEX CONCURRENTLY %s;', i.indexrelid::regclass) AS mend
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_stat_user_indexes AS s ON s.indexrelid = i.indexrelid
 WHERE i.indrelid = to_regclass(quote_ident(:'files')) AND i.indpred IS NULL AND NOT i.indisprimary
   AND c.relname NOT IN (:'queue_index', :'held_index', :'ended_index', :'failed_index', :'alike_index', :'waiting_index')
 ORDER BY s.idx_scan, pg_relation_size(i.indexrelid) DESC, 1;
