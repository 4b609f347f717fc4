-- How many rows have no status: exact where counting costs nothing, else from the planner's statistics.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/waiting.sql
--
-- exact_bytes   size up to which the table is counted (default 67108864: 64 MB, some 30 ms)
--
-- Of a larger table the last 500 pages are counted, where new rows land, and the statistics are asked for the rest.
\ir ../_session.sql
\if :{?exact_bytes} \else \set exact_bytes 67108864 \endif
WITH size AS MATERIALIZED (
    SELECT c.reltuples, pg_relation_size(c.oid) AS bytes, pg_relation_size(c.oid) > :'exact_bytes'::bigint AS large,
           greatest(pg_relation_size(c.oid) / current_setting('block_size')::int - 500, 0) AS last_pages,
           (SELECT s.null_frac FROM pg_stats AS s JOIN pg_namespace AS n ON n.nspname = s.schemaname
             WHERE n.oid = c.relnamespace AND s.tablename = c.relname AND s.attname = 'processing_status') AS without
      FROM pg_class AS c WHERE c.oid = to_regclass(quote_ident(:'files'))
)
SELECT large AS estimated,
       CASE WHEN NOT large THEN
                 (SELECT count(*) FROM :"files" WHERE processing_status IS NULL AND deleted IS NOT TRUE)
            ELSE greatest((greatest(reltuples, 0) * coalesce(without, 0))::bigint,
                          (SELECT count(*) FROM :"files"
                            WHERE ctid >= (SELECT pg_catalog.format('(%s,0)', last_pages)::tid FROM size)
                              AND processing_status IS NULL AND deleted IS NOT TRUE)) END AS waiting
  FROM size;
