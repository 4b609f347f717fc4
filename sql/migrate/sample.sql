-- How fast the table can be read at this moment: three stretches of it are, at its beginning, middle and end.
--
-- pages    pages of each stretch
--
-- Answers the table's bytes and rows, how many bytes were read, and the share of the rows that have a status (by the
-- planner's statistics; all of them where there are none): these go into an index.
WITH size AS MATERIALIZED (
    SELECT c.oid, c.relname, c.relnamespace, c.reltuples, current_setting('block_size')::int AS block,
           pg_relation_size(c.oid) / current_setting('block_size')::int AS pages,
           least(:'pages'::bigint, pg_relation_size(c.oid) / current_setting('block_size')::int / 3) AS each
      FROM pg_class AS c WHERE c.oid = to_regclass(quote_ident(:'files'))
)
SELECT pages * block AS bytes, greatest(reltuples, 0)::bigint AS rows, 3 * each * block AS sampled,
       CASE WHEN NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = oid AND attname = 'processing_status') THEN 0
            ELSE 1 - coalesce((SELECT s.null_frac FROM pg_stats AS s JOIN pg_namespace AS n ON n.nspname = s.schemaname
                                WHERE n.oid = relnamespace AND s.tablename = relname AND s.attname = 'processing_status'), 0)
       END::float8 AS share,
       (SELECT count(*) FROM :"files" WHERE ctid < (SELECT pg_catalog.format('(%s,0)', each)::tid FROM size))
       + (SELECT count(*) FROM :"files" WHERE ctid >= (SELECT pg_catalog.format('(%s,0)', pages / 2)::tid FROM size)
                                          AND ctid < (SELECT pg_catalog.format('(%s,0)', pages / 2 + each)::tid FROM size))
       + (SELECT count(*) FROM :"files" WHERE ctid >= (SELECT pg_catalog.format('(%s,0)', pages - each)::tid FROM size)) AS seen
  FROM size;
