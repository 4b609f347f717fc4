-- Complete the file in hand and claim the next: one statement, one round trip, one commit per file.
--
-- psql: run complete.sql and claim.sql instead; this is the node's hot path and does both at once.
--
-- id, done_token, result   the file in hand, its token, its result as JSON ('null' for none)
-- others                   as in claim.sql, for the next file
--
-- Answers the claimed file, or no row: then the file in hand may be completed or not, and the queue empty or the node
-- paused or deposed; complete.sql and claim.sql tell. Saying so here as well would cost every file an outer query.
--
-- The next file is picked first, while the snapshot is fresh: of what others have claimed since, each row that this
-- statement comes across is locked until it commits, and its owner waits to complete it (four nodes: 6200 files/s this
-- way, 5200 when the file in hand was completed first). It is claimed last, and only when the one in hand was
-- completed: a late copy of this statement, from a connection given up, claims nothing, and the index of one file per
-- node accepts the second update.
--
-- It waits for the file in hand while it holds the next, so an application that updates both in one transaction could
-- deadlock with it: the wait ends long before anybody's deadlock_timeout (1 s), and the node completes without a claim.
-- That limit is set where `processing_errors` becomes NULL: a condition of its own costs a file 1 % more.
--
-- Whether a pause holds is read from the node's own row, where pause.sql and each heartbeat write it (NULL: in doubt);
-- claim.sql, which comes first and whenever this answers nothing, looks at the pauses themselves.
--
-- `processing_status || ''` keeps the planner from the tiny partial index on processing rows, whose dead entries it
-- would walk under a pinned xmin (2360 to 263 files/s after 10,000); the primary key stays fast.
\ir _session.sql
WITH pick AS MATERIALIZED (
    SELECT id FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE
       AND processing_queued_at >= :'after'::timestamptz AND processing_queued_at <= now()
     ORDER BY processing_queued_at, id
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
          f.processing_failures AS failures, f.processing_queued_at AS queued_at;
