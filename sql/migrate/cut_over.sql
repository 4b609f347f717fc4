-- What a cut-over meets: how many rows are queued (up to 10001), and how many come in an hour by uploaded_at.
-- Of a table larger than exact_bytes the last 500 pages are looked at, where new rows land; where all of them came
-- within the hour, per_hour is their rate. NULL where no row says when it came.
WITH size AS MATERIALIZED (
    SELECT CASE WHEN pg_relation_size(c.oid) > :'exact_bytes'::bigint
                THEN pg_catalog.format('(%s,0)', greatest(pg_relation_size(c.oid) / current_setting('block_size')::int - 500, 0))
                ELSE '(0,0)' END::tid AS begins
      FROM pg_class AS c WHERE c.oid = to_regclass(quote_ident(:'files'))
), newest AS MATERIALIZED (
    SELECT pg_catalog.count(uploaded_at) AS told, count(*) FILTER (WHERE recent) AS recent, min(uploaded_at) FILTER (WHERE recent) AS first
      FROM (SELECT uploaded_at, uploaded_at BETWEEN clock_timestamp() - interval '1 hour' AND clock_timestamp() AS recent
              FROM :"files" WHERE ctid >= (SELECT begins FROM size)) AS rows
)
SELECT (SELECT count(*) FROM (SELECT 1 FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                               ORDER BY processing_queued_at, id LIMIT 10001) AS first) AS queued,
       CASE WHEN told = 0 THEN NULL
            WHEN recent = told AND begins > '(0,0)'
            THEN round(recent * 3600 / greatest(extract(epoch FROM clock_timestamp() - first), 1))::bigint
            ELSE recent END AS per_hour
  FROM size CROSS JOIN newest;
