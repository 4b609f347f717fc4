-- What is there and differs from the model, where running the statements of a part again mends it: functions,
-- triggers and the default of the queue's time. Which part it is, and the name. (psql runs all of them.)
WITH found AS MATERIALIZED (
    SELECT c.oid, c.relnamespace = pg_my_temp_schema() AS is_model, n.nspname
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relname = :'files' AND c.relnamespace IN (pg_my_temp_schema(), quote_ident(current_schema())::regnamespace)
), shapes AS MATERIALIZED (
    SELECT 'guard' AS part, p.proname::text AS name, 'the function ' AS kind, p.pronamespace = pg_my_temp_schema() AS is_model,
           concat_ws(' ', p.prosrc, p.proconfig::text, p.provolatile, p.prosecdef, p.prolang) AS shape
      FROM pg_proc AS p
     WHERE p.proname IN (:'guard', :'wake') AND p.pronargs = 0
       AND p.pronamespace IN (pg_my_temp_schema(), quote_ident(current_schema())::regnamespace)
    UNION ALL
    SELECT 'guard', t.tgname, 'the trigger ', f.is_model,
           replace(pg_get_triggerdef(t.oid),
                   pg_catalog.format(' ON %I.%I ', CASE WHEN f.is_model THEN 'pg_temp' ELSE f.nspname END, :'files'::text), ' ON ')
      FROM found AS f JOIN pg_trigger AS t ON t.tgrelid = f.oid
     WHERE t.tgname IN (:'guard', :'guard_new', :'wake')
    UNION ALL
    SELECT 'columns', a.attname, 'the default of ', f.is_model, pg_get_expr(d.adbin, d.adrelid)
      FROM found AS f JOIN pg_attribute AS a ON a.attrelid = f.oid AND a.attname = 'processing_queued_at' AND NOT a.attisdropped
      JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
)
SELECT DISTINCT CASE WHEN name = :'wake' THEN 'wake' ELSE part END AS part, name,
       kind || name || CASE WHEN kind LIKE 'the default%' THEN ' is another one' ELSE ' has another definition' END AS phrase
  FROM shapes AS live JOIN shapes AS model USING (part, name, kind)
 WHERE model.is_model AND NOT live.is_model AND live.shape <> model.shape
 ORDER BY 1, 2;
