-- The other tables of this environment that were migrated: nodes, history and pauses are theirs, too.
SELECT c.relname AS name
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname <> :'files'
   AND t.tgname = c.relname || '_processing_guard'
   AND starts_with(c.relname, 'dev_') = starts_with(:'files', 'dev_')
 ORDER BY c.relname;
