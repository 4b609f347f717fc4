-- How many rows have no status: exact where they are few and wherever counting costs nothing, as the overview counts them;
-- else from the planner's statistics.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/waiting.sql
--
-- exact_rows    rows up to which they are counted in any table (default 100000: some 20 ms)
-- exact_bytes   size up to which the table is counted (default 67108864: 64 MB, some 30 ms)
--
-- Of a larger table the last 500 pages are counted, where new rows land, and the statistics are asked for the rest.
\ir ../_session.sql
\if :{?exact_rows} \else \set exact_rows 100000 \endif
\if :{?exact_bytes} \else \set exact_bytes 67108864 \endif
WITH size AS MATERIALIZED (
    SELECT c.reltuples, pg_relation_size(c.oid) AS bytes, pg_relation_size(c.oid) > :'exact_bytes'::bigint AS large,
           greatest(pg_relation_size(c.oid) / current_setting('block_size')::int - 500, 0) AS last_pages,
           (SELECT s.null_frac FROM pg_stats AS s JOIN pg_namespace AS n ON n.nspname = s.schemaname
             WHERE n.oid = c.relnamespace AND s.tablename = c.relname AND s.attname = 'processing_status') AS without
      FROM pg_class AS c WHERE c.oid = to_regclass(quote_ident(:'files'))
), first AS MATERIALIZED (
    -- In the order of their index, so that this alone is read.
    SELECT count(*) AS rows
      FROM (SELECT FROM :"files" WHERE processing_status IS NULL AND deleted IS NOT TRUE
             ORDER BY uploaded_at DESC NULLS LAST LIMIT :'exact_rows'::bigint + 1) AS few
)
SELECT large AND first.rows > :'exact_rows'::bigint AS estimated,
       CASE WHEN first.rows <= :'exact_rows'::bigint THEN first.rows
            WHEN NOT large THEN
                 (SELECT count(*) FROM :"files" WHERE processing_status IS NULL AND deleted IS NOT TRUE)
            ELSE greatest(first.rows, (greatest(reltuples, 0) * coalesce(without, 0))::bigint,
                          (SELECT count(*) FROM :"files"
                            WHERE ctid >= (SELECT pg_catalog.format('(%s,0)', last_pages)::tid FROM size)
                              AND processing_status IS NULL AND deleted IS NOT TRUE)) END AS waiting
  FROM size CROSS JOIN first;
