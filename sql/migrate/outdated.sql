-- What is there and differs from the model, where running the migration's statements again would pass over it: indexes,
-- and the tables of our own. A row for each, with the statements that mend it.
--
-- An index is set aside under another name and serves on, promise and all, until the new one is built beside it.
-- about is a comment, so that psql may run every cell; clear makes room where an earlier upgrade was interrupted.
WITH found AS MATERIALIZED (
    SELECT c.oid, c.relname::text AS name, c.relnamespace = pg_my_temp_schema() AS is_model
      FROM pg_class AS c
     WHERE c.relnamespace IN (pg_my_temp_schema(), quote_ident(current_schema())::regnamespace)
), pairs AS MATERIALIZED (
    SELECT live.oid AS live, model.oid AS model, live.name
      FROM found AS live JOIN found AS model USING (name) WHERE model.is_model AND NOT live.is_model
), beside AS MATERIALIZED (
    SELECT * FROM pairs WHERE name IN (:'nodes', :'events', :'pauses', :'logs')
)
SELECT '-- ' || p.name || ' has another definition' AS about,
       (SELECT pg_catalog.format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', current_schema(), o.old)
         WHERE to_regclass(pg_catalog.format('%I.%I', current_schema(), o.old)) IS NOT NULL) AS clear,
       pg_catalog.format('ALTER INDEX IF EXISTS %I.%I RENAME TO %I', current_schema(), p.name, o.old) AS mend
  FROM pairs AS p
  JOIN (VALUES (:'queue_index', :'old_queue_index'), (:'held_index', :'old_held_index'), (:'ended_index', :'old_ended_index'),
               (:'failed_index', :'old_failed_index'), (:'waiting_index', :'old_waiting_index'),
               (:'alike_index', :'old_alike_index'),
               (:'events_by_file', :'old_events_by_file'), (:'events_by_time', :'old_events_by_time'),
               (:'events_by_kind', :'old_events_by_kind'), (:'events_by_node', :'old_events_by_node')) AS o (name, old) USING (name)
  JOIN pg_index AS l ON l.indexrelid = p.live
  JOIN pg_index AS m ON m.indexrelid = p.model
 WHERE l.indisvalid
   AND (l.indisunique <> m.indisunique
        -- What somebody has set for it, such as a fillfactor, is theirs.
        OR regexp_replace(substring(pg_get_indexdef(p.live) FROM ' USING .*'), ' WITH \([^)]*\)', '')
           <> regexp_replace(substring(pg_get_indexdef(p.model) FROM ' USING .*'), ' WITH \([^)]*\)', ''))
UNION ALL
SELECT '-- column ' || a.attname || ' of ' || p.name || ' is missing', NULL,
       pg_catalog.format('ALTER TABLE %I.%I ADD COLUMN IF NOT EXISTS %I %s', current_schema(), p.name, a.attname,
              format_type(a.atttypid, a.atttypmod) || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
              || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END)
  FROM beside AS p
  JOIN pg_attribute AS a ON a.attrelid = p.model AND a.attnum > 0
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE NOT EXISTS (SELECT FROM pg_attribute AS b WHERE b.attrelid = p.live AND b.attname = a.attname AND NOT b.attisdropped)
UNION ALL
SELECT '-- constraint ' || m.conname || ' of ' || p.name
       || CASE WHEN l.oid IS NULL THEN ' is missing' ELSE ' has another definition' END, NULL,
       pg_catalog.format('ALTER TABLE %I.%I ', current_schema(), p.name)
       || CASE WHEN l.oid IS NULL THEN '' ELSE pg_catalog.format('DROP CONSTRAINT %I, ', m.conname) END
       || pg_catalog.format('ADD CONSTRAINT %I %s', m.conname, pg_get_constraintdef(m.oid))
  FROM beside AS p
  JOIN pg_constraint AS m ON m.conrelid = p.model AND m.contype IN ('c', 'u', 'p')
  LEFT JOIN pg_constraint AS l ON l.conrelid = p.live AND l.conname = m.conname
 WHERE l.oid IS NULL OR pg_get_constraintdef(l.oid) <> pg_get_constraintdef(m.oid)
 ORDER BY 1
\gexec
