-- End an attempt that went wrong: back to the queue after a back-off while the budget lasts, else failed.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -v token=... -v outcome=rejected -v error='unreadable' \
--      -v max_failures=3 -v retry_seconds=10 -v actor=by-hand -f sql/fail.sql
--
-- id, token       the file and the token under which it was claimed: the fence
-- outcome         crashed or raised (retried while failures < max_failures); rejected or timeout (failed at once)
-- error           why, kept in processing_errors and in the attempt's event
-- identity        what it is grouped by: {"error": ..., "place": ...} (default '': the last line of the error serves)
-- max_failures    bad attempts after which the file is failed
-- retry_seconds   wait before the first retry, doubled for each further one, at most an hour
-- wait_seconds    wait before the retry instead, whichever it is (default '': none given)
-- actor           who says so: the node
--
-- Answers one row: the state that follows (queued or failed), cancelled when that was asked for (cancelled.sql ends it
-- then), or lost when the claim is no longer this token's.
-- The event is written in the same statement: what ended an attempt is never lost.
\ir _session.sql
\if :{?identity} \else \set identity '' \endif
\if :{?wait_seconds} \else \set wait_seconds '' \endif
WITH mine AS MATERIALIZED (
    SELECT id, processing_server_id AS server_id, processing_token AS token, processing_attempt AS attempt,
           processing_started_at AS started_at, coalesce(processing_failures, 0) + 1 AS failures,
           CASE WHEN :'outcome' IN ('rejected', 'timeout')
                     OR coalesce(processing_failures, 0) + 1 >= :'max_failures'::int
                THEN 'failed' ELSE 'queued' END AS next_status,
           nullif(:'identity', '')::jsonb AS identity
      FROM :"files"
     WHERE id = :'id' AND processing_token = :'token'::uuid AND processing_status || '' = 'processing'
       AND NOT EXISTS (SELECT FROM :"nodes" AS n WHERE n.server_id = processing_server_id AND n.cancel_token = :'token'::uuid)
       FOR NO KEY UPDATE
), ended AS (
    UPDATE :"files" AS f
       SET processing_status = mine.next_status, processing_failures = mine.failures, processing_errors = :'error',
           processing_failure = CASE WHEN identity IS NOT NULL THEN
               pg_catalog.jsonb_build_object('attempt', mine.attempt, 'error', identity -> 'error', 'place', identity -> 'place') END,
           processing_token = NULL, processing_epoch = NULL,
           processing_server_id = CASE mine.next_status WHEN 'failed' THEN mine.server_id END,
           processing_started_at = CASE mine.next_status WHEN 'failed' THEN f.processing_started_at END,
           processing_completed_at = CASE mine.next_status WHEN 'failed' THEN clock_timestamp() END,
           processing_queued_at = CASE mine.next_status WHEN 'failed' THEN f.processing_queued_at
               ELSE clock_timestamp()
                    + coalesce(nullif(:'wait_seconds', '')::float8,
                               least(3600, :'retry_seconds'::float8 * 2 ^ least(mine.failures - 1, 20))) * interval '1 second' END
      FROM mine WHERE f.id = mine.id
    RETURNING f.id
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor, details)
    SELECT 'attempt', :'outcome', next_status, mine.id::text, server_id, token, attempt, started_at, :'error', :'actor',
           identity
      FROM mine JOIN ended ON ended.id = mine.id
)
SELECT coalesce((SELECT next_status FROM mine JOIN ended ON ended.id = mine.id),
                CASE WHEN EXISTS (SELECT FROM :"nodes" WHERE cancel_token = :'token'::uuid) THEN 'cancelled' ELSE 'lost' END) AS answer;
