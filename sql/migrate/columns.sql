-- The columns: ours, and those that we read where the application has none. Constant defaults: no table is rewritten.
ALTER TABLE :"files"
    ADD COLUMN IF NOT EXISTS processing_status text,
    ADD COLUMN IF NOT EXISTS processing_server_id text,
    ADD COLUMN IF NOT EXISTS processing_started_at timestamptz,
    ADD COLUMN IF NOT EXISTS processing_completed_at timestamptz,
    ADD COLUMN IF NOT EXISTS processing_errors text,
    ADD COLUMN IF NOT EXISTS processing_queued_at timestamptz,
    ADD COLUMN IF NOT EXISTS processing_attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS processing_failures integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS processing_token uuid,
    ADD COLUMN IF NOT EXISTS processing_done_token uuid,
    ADD COLUMN IF NOT EXISTS processing_epoch bigint,
    ADD COLUMN IF NOT EXISTS processing_result jsonb,
    ADD COLUMN IF NOT EXISTS original_filename text,
    ADD COLUMN IF NOT EXISTS storage_path text,
    ADD COLUMN IF NOT EXISTS file_size bigint,
    ADD COLUMN IF NOT EXISTS uploaded_at timestamptz,
    ADD COLUMN IF NOT EXISTS deleted boolean NOT NULL DEFAULT false,
    -- {attempt, error, place}: what the failure is grouped by; it holds for the attempt that it names.
    ADD COLUMN IF NOT EXISTS processing_failure jsonb,
    -- When a file with a head start came; its place in the queue is processing_queued_at. It came at the later of the two.
    ADD COLUMN IF NOT EXISTS processing_arrived_at timestamptz;

-- clock_timestamp(), not now(): rows of one bulk insert keep their order, and the queue's cursor its grip.
-- As a later SET DEFAULT it holds for new rows only; as part of ADD COLUMN it would rewrite the table.
ALTER TABLE :"files" ALTER COLUMN processing_queued_at SET DEFAULT clock_timestamp();
