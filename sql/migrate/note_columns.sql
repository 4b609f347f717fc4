-- Note which columns the migration is about to add, so that a rollback takes away those and no others.
WITH lacking AS (
    SELECT name
      FROM pg_catalog.unnest('{processing_status,processing_server_id,processing_started_at,processing_completed_at,processing_errors,
                    processing_queued_at,processing_attempt,processing_failures,processing_token,processing_done_token,
                    processing_epoch,processing_result,processing_failure,processing_arrived_at,original_filename,storage_path,file_size,uploaded_at,deleted}'::text[])
           AS name
     WHERE to_regclass(quote_ident(:'files')) IS NOT NULL
       AND NOT EXISTS (SELECT FROM information_schema.columns
                        WHERE table_schema = current_schema() AND table_name = :'files' AND column_name = name)
)
INSERT INTO :"events" (kind, outcome, actor, reason, details)
SELECT 'migrate', 'columns', current_user, 'added by the migration', pg_catalog.jsonb_build_object('table', :'files'::text, 'added', pg_catalog.jsonb_agg(name))
  FROM lacking HAVING count(*) > 0;
