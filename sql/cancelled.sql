-- End a claim whose cancellation was asked for: by its node, which has killed the processor, or when the attempt ends.
--
-- psql: for nodes; cancel.sql asks.
--
-- id, token   the file and the token under which it was claimed: the fence
-- actor       the node, where the history no longer says who asked
--
-- Answers one row: failed, or lost when the claim is no longer this token's.
\ir _session.sql
WITH mine AS MATERIALIZED (
    SELECT id, processing_server_id AS server_id, processing_token AS token, processing_attempt AS attempt,
           processing_started_at AS started_at
      FROM :"files"
     WHERE id = :'id' AND processing_token = :'token'::uuid AND processing_status || '' = 'processing'
       FOR NO KEY UPDATE
), why AS MATERIALIZED (
    SELECT coalesce(e.actor, :'actor') AS actor,
           pg_catalog.format('Cancelled by %s%s', coalesce(e.actor, :'actor'), ': ' || nullif(e.reason, '')) AS said
      FROM mine LEFT JOIN LATERAL (
           SELECT actor, reason FROM :"events" WHERE file_id = mine.id::text AND kind = 'cancel' AND token = mine.token
            ORDER BY id DESC LIMIT 1) AS e ON true
), ended AS (
    UPDATE :"files" AS f
       SET processing_status = 'failed', processing_completed_at = clock_timestamp(), processing_errors = why.said,
           processing_failure = pg_catalog.jsonb_build_object('attempt', mine.attempt, 'error', 'Cancelled', 'place', '', 'cancelled', true),
           processing_token = NULL, processing_epoch = NULL
      FROM mine, why WHERE f.id = mine.id
    RETURNING f.id
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor, details)
    SELECT 'attempt', 'cancelled', 'failed', mine.id::text, server_id, token, attempt, started_at, why.said, why.actor,
           '{"error": "Cancelled", "place": ""}'
      FROM mine JOIN ended ON ended.id = mine.id CROSS JOIN why
)
SELECT CASE WHEN EXISTS (SELECT FROM ended) THEN 'failed' ELSE 'lost' END AS answer;
