-- Where the files tables of the two environments differ; no row when one of them is not there.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/environments.sql
--
-- production_files, development_files   the two tables (psql finds them by itself)
--
-- wanting: the environment whose table lacks something of ours; migrating it mends that. Else mend is the statement.
-- Of the application's columns only what production has and development lacks is told: the reverse is a release on
-- its way. A table with no column but ours was made by opskit, and there is nothing of the application's to compare.
\ir ../_session.sql
\ir _both.sql
WITH tables AS MATERIALIZED (
    SELECT side, name, to_regclass(quote_ident(name)) AS oid
      FROM (VALUES ('production', :'production_files'), ('development', :'development_files')) AS t (side, name)
), columns AS MATERIALIZED (
    SELECT t.side, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS shape, a.attname LIKE 'processing\_%' AS ours,
           a.attname LIKE 'processing\_%'
           OR a.attname IN ('id', 'original_filename', 'storage_path', 'file_size', 'uploaded_at', 'deleted') AS known
      FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
), parts AS MATERIALIZED (
    SELECT side, 'column' AS kind, name, ours, shape FROM columns
     WHERE ours OR (SELECT pg_catalog.count(DISTINCT side) = 2 FROM columns WHERE NOT known)
    UNION ALL
    SELECT t.side, 'index', substr(c.relname, length(t.name) + 1), true,
           substring(pg_get_indexdef(c.oid) FROM 'USING .*') || CASE WHEN i.indisvalid THEN '' ELSE ' NOT VALID' END
      FROM tables AS t JOIN pg_index AS i ON i.indrelid = t.oid JOIN pg_class AS c ON c.oid = i.indexrelid
     WHERE starts_with(c.relname, t.name || '_processing_')
    UNION ALL
    SELECT t.side, 'constraint', substr(k.conname, length(t.name) + 1), true, pg_get_constraintdef(k.oid)
      FROM tables AS t JOIN pg_constraint AS k ON k.conrelid = t.oid AND k.contype = 'c'
     WHERE starts_with(k.conname, t.name || '_processing_')
    UNION ALL
    SELECT t.side, 'trigger', substr(g.tgname, length(t.name) + 1), true, 'there'
      FROM tables AS t JOIN pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal
     WHERE starts_with(g.tgname, t.name || '_processing_')
)
SELECT kind, CASE kind WHEN 'column' THEN name ELSE '...' || name END AS name, p.shape AS in_production, d.shape AS in_development,
       CASE WHEN ours AND (p.shape IS NULL OR p.shape LIKE '%NOT VALID') THEN 'production'
            WHEN ours AND (d.shape IS NULL OR d.shape LIKE '%NOT VALID') THEN 'development' END AS wanting,
       CASE WHEN kind = 'column' AND d.shape IS NULL THEN pg_catalog.format('ALTER TABLE %I ADD COLUMN %I %s;', :'development_files'::text, name, p.shape)
            WHEN kind = 'column' THEN pg_catalog.format('ALTER TABLE %I ALTER COLUMN %I TYPE %s;', :'development_files'::text, name, p.shape) END AS mend
  FROM (SELECT * FROM parts WHERE side = 'production') AS p
  FULL JOIN (SELECT * FROM parts WHERE side = 'development') AS d USING (kind, name, ours)
 WHERE p.shape IS DISTINCT FROM d.shape AND (ours OR p.shape IS NOT NULL)
   AND (SELECT pg_catalog.count(oid) = 2 FROM tables)
 ORDER BY ours DESC, kind, name;
