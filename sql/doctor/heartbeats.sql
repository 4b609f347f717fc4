-- Whether heartbeats stay HOT: how often one left its page, the room on the pages, and foreign indexes on the nodes table.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/heartbeats.sql
--
-- cold_updates: PostgreSQL 16 and later count the rows that moved to another page. Before, what was not HOT is taken,
-- less the updates that raise an epoch (every 200 files, and at each start): these touch an index, and may.
\ir ../_session.sql
SELECT c.oid::regclass::text AS name, s.n_tup_upd AS updates,
       coalesce((pg_catalog.to_jsonb(s) ->> 'n_tup_newpage_upd')::bigint,
                greatest(0, s.n_tup_upd - s.n_tup_hot_upd - n.epochs * (1 + s.n_tup_del / greatest(n.count, 1)))) AS cold_updates,
       coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100) AS fill_factor,
       ARRAY(SELECT i.indexrelid::regclass::text FROM pg_index AS i
              WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
              ORDER BY 1) AS foreign_indexes
  FROM pg_class AS c JOIN pg_stat_user_tables AS s ON s.relid = c.oid
 CROSS JOIN (SELECT count(*) AS count, coalesce(sum(epoch), 0)::bigint AS epochs FROM :"nodes") AS n
 WHERE c.oid = to_regclass(quote_ident(:'nodes'));
