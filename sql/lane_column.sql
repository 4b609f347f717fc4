-- Which column of the application's is the lane: that of the valid index of lanes; no row where lanes are off.
--
-- psql "$DATABASE_URL" -v env=development -f sql/lane_column.sql
--
-- Beside it the schema and the name of the type of an array of its values, by which nodes name lanes.
\ir _session.sql
SELECT a.attname::text AS lane, n.nspname::text AS lane_schema, r.typname::text AS lane_array
  FROM pg_class AS c
  JOIN pg_index AS i ON i.indexrelid = c.oid
  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
  JOIN pg_type AS t ON t.oid = a.atttypid
  JOIN pg_type AS r ON r.oid = t.typarray
  JOIN pg_namespace AS n ON n.oid = r.typnamespace
 WHERE c.relname = :'lanes_index' AND c.relnamespace = quote_ident(current_schema())::regnamespace
   AND i.indrelid = to_regclass(quote_ident(:'files')) AND i.indisvalid;
