-- What no promise can be kept without, and is not there: one row; lacking is NULL when nothing is.
-- Asked before a node starts, a file is queued or new rows are. An index that is set aside while its successor is built
-- keeps its promise.
SELECT coalesce(
    (SELECT name || ' is missing' FROM pg_catalog.unnest(ARRAY[:'files', :'nodes', :'events', :'pauses']::text[]) WITH ORDINALITY AS t (name, n)
      WHERE to_regclass(quote_ident(name)) IS NULL ORDER BY n LIMIT 1),
    (SELECT :'files' || ' is no plain table' FROM pg_class WHERE oid = to_regclass(quote_ident(:'files')) AND relkind <> 'r'),
    (SELECT 'column ' || name || ' of ' || :'files' || ' is missing'
       FROM pg_catalog.unnest('{processing_status,processing_server_id,processing_started_at,processing_completed_at,processing_errors,
                     processing_queued_at,processing_attempt,processing_failures,processing_token,processing_done_token,
                     processing_epoch,processing_result,processing_failure,processing_arrived_at,original_filename,storage_path,file_size,uploaded_at,deleted}'::text[])
            WITH ORDINALITY AS t (name, n)
      WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(:'files')) AND attname = name AND NOT attisdropped)
      ORDER BY n LIMIT 1),
    (SELECT 'column ' || name || ' of ' || :'nodes' || ' is missing'
       FROM pg_catalog.unnest('{cancel_token,lanes}'::text[]) AS t (name)
      WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(:'nodes')) AND attname = name AND NOT attisdropped)
      LIMIT 1),
    (SELECT 'the trigger ' || name || ' is missing' FROM pg_catalog.unnest(ARRAY[:'guard', :'guard_new']::text[]) WITH ORDINALITY AS t (name, n)
      WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(quote_ident(:'files')) AND tgname = name)
      ORDER BY n LIMIT 1),
    (SELECT 'the index ' || :'held_index' || ' is missing'
      WHERE NOT EXISTS (SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
                         WHERE i.indrelid = to_regclass(quote_ident(:'files')) AND i.indisunique AND i.indisvalid
                           AND c.relname IN (:'held_index', :'old_held_index')))) AS lacking
\gset
