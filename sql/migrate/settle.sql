-- Claims from before that say no start: their age counts from now, so that none is stuck for ever.
UPDATE :"files" SET processing_started_at = clock_timestamp()
 WHERE processing_status = 'processing' AND processing_started_at IS NULL;
