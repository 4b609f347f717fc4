-- End an attempt whose processor asks to be called again later: back to the queue, due then.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -v token=... -v reason='the service is busy' -v after_seconds=60 \
--      -v counted=false -v most=20 -v max_failures=3 -v actor=by-hand -f sql/defer.sql
--
-- id, token       the file and the token under which it was claimed: the fence
-- reason          why, kept in the attempt's event
-- after_seconds   how long to wait
-- counted         whether it counts as a failure
-- most            deferrals since the last requeue that cost nothing; a further one counts as a failure, so that no file
--                 is tried for ever
-- max_failures    as in fail.sql, for a deferral that counts
-- actor           who says so: the node
--
-- Answers one row: the state that follows (queued or failed), cancelled when that was asked for (cancelled.sql ends it
-- then), or lost when the claim is no longer this token's.
-- Deferrals are counted from the file's newest 100 events, through their index, as interrupt.sql does.
\ir _session.sql
WITH mine AS MATERIALIZED (
    SELECT id, processing_server_id AS server_id, processing_token AS token, processing_attempt AS attempt,
           processing_started_at AS started_at, coalesce(processing_failures, 0) AS failures
      FROM :"files"
     WHERE id = :'id' AND processing_token = :'token'::uuid AND processing_status || '' = 'processing'
       AND NOT EXISTS (SELECT FROM :"nodes" AS n WHERE n.server_id = processing_server_id AND n.cancel_token = :'token'::uuid)
       FOR NO KEY UPDATE
), newest AS MATERIALIZED (
    SELECT e.* FROM mine
     CROSS JOIN LATERAL (SELECT id, kind, outcome, next_status FROM :"events" WHERE file_id = mine.id::text
                          ORDER BY id DESC LIMIT 100) AS e
), judged AS MATERIALIZED (
    SELECT mine.*, past.deferrals, :'counted'::boolean OR past.deferrals >= :'most'::int AS counts
      FROM mine
     CROSS JOIN (SELECT count(*) FILTER (WHERE outcome = 'deferred') AS deferrals FROM newest
                  WHERE id > coalesce((SELECT max(id) FROM newest WHERE kind = 'requeue' OR next_status = 'failed'), 0)) AS past
), decided AS MATERIALIZED (
    SELECT judged.*, failures + counts::int AS failures_after,
           CASE WHEN counts AND failures + 1 >= :'max_failures'::int THEN 'failed' ELSE 'queued' END AS next_status,
           CASE WHEN counts AND NOT :'counted'::boolean
                THEN pg_catalog.format('%s; deferred %s times before: this one counts as a failure', :'reason'::text, deferrals)
                ELSE :'reason' END AS why,
           CASE WHEN :'counted'::boolean THEN 'Deferred' ELSE 'Deferred too often' END AS error
      FROM judged
), ended AS (
    UPDATE :"files" AS f
       SET processing_status = d.next_status, processing_failures = d.failures_after,
           processing_errors = CASE WHEN d.counts THEN d.why ELSE f.processing_errors END,
           processing_failure = CASE WHEN d.counts THEN pg_catalog.jsonb_build_object('attempt', d.attempt, 'error', d.error, 'place', '')
               ELSE f.processing_failure END,
           processing_token = NULL, processing_epoch = NULL,
           processing_server_id = CASE d.next_status WHEN 'failed' THEN d.server_id END,
           processing_started_at = CASE d.next_status WHEN 'failed' THEN f.processing_started_at END,
           processing_completed_at = CASE d.next_status WHEN 'failed' THEN clock_timestamp() END,
           processing_queued_at = CASE d.next_status WHEN 'failed' THEN f.processing_queued_at
               ELSE clock_timestamp() + :'after_seconds'::float8 * interval '1 second' END
      FROM decided AS d WHERE f.id = d.id
    RETURNING f.id
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor, details)
    SELECT 'attempt', 'deferred', next_status, d.id::text, server_id, token, attempt, started_at, why, :'actor',
           CASE WHEN counts THEN pg_catalog.jsonb_build_object('error', error, 'place', '', 'kind', 'file')
                ELSE '{}'::jsonb END || pg_catalog.jsonb_build_object('after_seconds', :'after_seconds'::float8)
      FROM decided AS d JOIN ended ON ended.id = d.id
)
SELECT coalesce((SELECT next_status FROM decided AS d JOIN ended ON ended.id = d.id),
                CASE WHEN EXISTS (SELECT FROM :"nodes" WHERE cancel_token = :'token'::uuid) THEN 'cancelled' ELSE 'lost' END) AS answer;
