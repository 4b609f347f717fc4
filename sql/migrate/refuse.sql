-- What would make the migration unsafe: columns of ours with another kind of type, statuses that are not ours.
-- Answers one row when there is a problem. (psql keeps it in a variable; the types alone are looked at here,
-- foreign statuses are refused by the constraint.)
SELECT 'column ' || string_agg(column_name || ' of ' || table_name || ' is ' || data_type || ' where ' || wanted || ' is needed', '; '
                               ORDER BY column_name) AS problem
  FROM information_schema.columns
  JOIN (VALUES ('processing_status', 'text'), ('processing_server_id', 'text'), ('processing_errors', 'text'),
               ('processing_started_at', 'timestamp'), ('processing_completed_at', 'timestamp'), ('processing_queued_at', 'timestamp'),
               ('processing_attempt', 'integer'), ('processing_failures', 'integer'), ('processing_epoch', 'bigint'),
               ('processing_token', 'uuid'), ('processing_done_token', 'uuid'), ('processing_result', 'jsonb'),
               ('original_filename', 'text'), ('storage_path', 'text'), ('file_size', 'number'),
               ('uploaded_at', 'timestamp'), ('deleted', 'boolean')) AS needs (column_name, wanted) USING (column_name)
 WHERE table_schema = current_schema() AND table_name = :'files'
   AND data_type NOT IN ('ARRAY')
   AND NOT CASE wanted WHEN 'text' THEN data_type IN ('text', 'character varying', 'character')
                       WHEN 'timestamp' THEN data_type LIKE 'timestamp%'
                       WHEN 'integer' THEN data_type IN ('smallint', 'integer', 'bigint')
                       WHEN 'number' THEN data_type IN ('smallint', 'integer', 'bigint', 'numeric')
                       ELSE data_type = wanted END
HAVING count(*) > 0
\gset
