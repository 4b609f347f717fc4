-- The promises as constraints; NOT VALID first, so that no table is scanned under a lock.

-- NULL passes: rows from before are not ours.
ALTER TABLE :"files"
    DROP CONSTRAINT IF EXISTS :"state_check",
    ADD CONSTRAINT :"state_check"
        CHECK (processing_status IN ('queued', 'processing', 'completed', 'failed')) NOT VALID;

-- The fence: under a token, a row is in processing only with its owner, and completed only by that same token.
-- A zombie's late write, or a stray UPDATE of the application, is refused here whatever its WHERE says.
ALTER TABLE :"files"
    DROP CONSTRAINT IF EXISTS :"fence_check",
    ADD CONSTRAINT :"fence_check"
        CHECK (processing_token IS NULL
               OR CASE processing_status
                       WHEN 'processing' THEN processing_server_id IS NOT NULL AND processing_started_at IS NOT NULL
                                              AND processing_epoch IS NOT NULL
                       WHEN 'completed' THEN processing_done_token IS NOT DISTINCT FROM processing_token
                       ELSE true END) NOT VALID;
