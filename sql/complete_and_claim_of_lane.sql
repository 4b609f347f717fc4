-- Complete the file in hand and claim the next of one lane: what a node asks while the lane whose turn it is has files.
--
-- psql: run complete.sql and claim_in_turn.sql instead.
--
-- id, done_token, result, server_id, boot, epoch, token   as in complete_and_claim.sql, which says why each part is as it is
-- lanes   one lane, as an array literal of the column's type; not NULL
-- after   its cursor
--
-- Answers as complete_and_claim_in_turn.sql does. One lane and no list, which costs the server less.
-- A range of the index instead of an equality: see claim_in_turn.sql.
-- No row: the lane had no file, or anything else of what complete_and_claim.sql names; complete_and_claim_in_turn.sql is next.
\ir _session.sql
WITH pick AS MATERIALIZED (
    SELECT id FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE
       AND (:"lane", processing_queued_at) >= ((CAST(:'lanes' AS :"lane_schema".:"lane_array"))[1], :'after'::timestamptz)
       AND (:"lane", processing_queued_at) <= ((CAST(:'lanes' AS :"lane_schema".:"lane_array"))[1], now())
     ORDER BY :"lane", processing_queued_at, id
     LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED
), done AS (
    UPDATE :"files"
       SET processing_status = 'completed', processing_completed_at = clock_timestamp(),
           processing_errors = nullif(set_config('lock_timeout', '400ms', true), '400ms'),
           processing_failures = 0, processing_done_token = :'done_token'::uuid, processing_result = :'result'::jsonb
     WHERE id = :'id' AND processing_token = :'done_token'::uuid AND processing_status || '' = 'processing'
       AND EXISTS (SELECT FROM pick)
       AND EXISTS (SELECT FROM :"nodes"
                    WHERE server_id = :'server_id' AND boot = :'boot'::uuid AND epoch = :'epoch'::bigint
                      AND state = 'active' AND NOT paused AND lease_until >= now()
                      FOR KEY SHARE)
    RETURNING 1
)
UPDATE :"files" AS f
   SET processing_status = 'processing', processing_server_id = :'server_id',
       processing_started_at = clock_timestamp(), processing_completed_at = NULL,
       processing_attempt = coalesce(processing_attempt, 0) + 1,
       processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
  FROM pick WHERE f.id = pick.id AND EXISTS (SELECT FROM done)
RETURNING f.id, f.original_filename, f.storage_path, f.file_size::bigint AS file_size, f.processing_attempt AS attempt,
          f.processing_failures AS failures, f.processing_queued_at AS queued_at,
          f.:"lane"::text AS lane;
