-- Claims from before that say no start: their age counts from now, so that none is stuck for ever.
UPDATE :"files" SET processing_started_at = clock_timestamp()
 WHERE processing_status = 'processing' AND processing_started_at IS NULL;

-- Files that were queued before there was a queue to stand in: without a place no node would ever see them.
UPDATE :"files" SET processing_queued_at = least(uploaded_at, clock_timestamp())
 WHERE processing_status = 'queued' AND deleted IS NOT TRUE AND processing_queued_at IS NULL;
