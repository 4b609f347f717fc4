-- The column of the lanes (psql only; Python: opskit/queue/lanes.py). Where there is none, lane stays unset.
SELECT lane, coalesce(lane, 'processing_status') AS lane_column
  FROM (SELECT (SELECT a.attname::text
                  FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
                  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                 WHERE c.relname = :'lanes_index' AND c.relnamespace = quote_ident(current_schema())::regnamespace
                   AND i.indisvalid) AS lane) AS found \gset
