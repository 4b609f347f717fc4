-- The column of the lanes (psql only; Python: opskit/queue/lanes.py). Without one lane_column stands in for it.
\set lane_column processing_status
SELECT a.attname AS lane, a.attname AS lane_column
  FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
 WHERE c.relname = :'lanes_index' AND c.relnamespace = quote_ident(current_schema())::regnamespace AND i.indisvalid \gset
