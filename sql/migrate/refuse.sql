-- What would make the migration unsafe: no id, or columns of ours with another kind of type or too little room.
-- Answers one row; NULL when there is no problem. (psql keeps it in a variable.)
SELECT coalesce(
    -- A table elsewhere on the search path would be passed over, and a second, empty one made.
    (SELECT 'table ' || :'files' || ' is in schema ' || n.nspname || ', not in ' || current_schema()
            || '; put that schema first on the search_path'
       FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE c.oid = to_regclass(quote_ident(:'files')) AND n.nspname <> current_schema()),
    (SELECT 'table ' || :'files' || ' has no column id; opskit needs one that identifies a row'
      WHERE to_regclass(quote_ident(:'files')) IS NOT NULL
        AND NOT EXISTS (SELECT FROM information_schema.columns
                         WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = 'id')),
    -- With two rows of one id, one claim would take both.
    (SELECT 'id of ' || :'files' || ' is not unique; run: CREATE UNIQUE INDEX CONCURRENTLY ON ' || quote_ident(:'files') || ' (id)'
      WHERE to_regclass(quote_ident(:'files')) IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_index AS i
                          JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                         WHERE i.indrelid = to_regclass(quote_ident(:'files')) AND i.indisunique AND i.indisvalid
                           AND i.indimmediate AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id')),
    (SELECT string_agg('column ' || column_name || ' of ' || table_name || ' is ' || data_type
                       || coalesce('(' || character_maximum_length || ')', '') || ' where ' || wanted
                       || coalesce(' of at least ' || room || ' characters', '') || ' is needed', '; ' ORDER BY column_name)
       FROM information_schema.columns
       JOIN (VALUES ('processing_status', 'text', 10), ('processing_server_id', 'text', 100), ('processing_errors', 'text', 10000),
                    ('processing_started_at', 'timestamp', NULL), ('processing_completed_at', 'timestamp', NULL),
                    ('processing_queued_at', 'timestamp', NULL), ('processing_attempt', 'integer', NULL),
                    ('processing_failures', 'integer', NULL), ('processing_epoch', 'bigint', NULL),
                    ('processing_token', 'uuid', NULL), ('processing_done_token', 'uuid', NULL),
                    ('processing_result', 'jsonb', NULL), ('processing_failure', 'jsonb', NULL), ('original_filename', 'text', NULL), ('storage_path', 'text', NULL),
                    ('file_size', 'number', NULL), ('uploaded_at', 'timestamp', NULL), ('deleted', 'boolean', NULL))
            AS needs (column_name, wanted, room) USING (column_name)
      WHERE table_schema = current_schema() AND table_name = :'files'
        AND (character_maximum_length < room
             OR NOT CASE wanted WHEN 'text' THEN data_type IN ('text', 'character varying', 'character')
                                WHEN 'timestamp' THEN data_type LIKE 'timestamp%'
                                WHEN 'integer' THEN data_type IN ('smallint', 'integer', 'bigint')
                                WHEN 'number' THEN data_type IN ('smallint', 'integer', 'bigint', 'numeric')
                                ELSE data_type = wanted END))) AS problem,
    -- A foreign status can only be looked for where there is the column.
    EXISTS (SELECT FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = 'processing_status') AS has_status,
    (SELECT data_type = 'timestamp without time zone' FROM information_schema.columns
      WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = 'processing_queued_at') IS TRUE AS plain_queue
\gset
