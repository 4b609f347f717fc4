-- Give a file back unharmed: queued again at its old place, failures unchanged. A deploy is not the file's fault.
--
-- psql "$DATABASE_URL" -v env=development -v id=42 -v token=... -v reason='drained' -v actor=by-hand -f sql/release.sql
--
-- id, token   the file and the token under which it was claimed: the fence
-- reason      why, kept in the attempt's event
-- actor       who says so: the node
--
-- Answers one row: queued, cancelled when that was asked for (cancelled.sql ends it then), or lost when the claim is no
-- longer this token's.
\ir _session.sql
WITH mine AS MATERIALIZED (
    SELECT id, processing_server_id AS server_id, processing_token AS token, processing_attempt AS attempt,
           processing_started_at AS started_at
      FROM :"files"
     WHERE id = :'id' AND processing_token = :'token'::uuid AND processing_status || '' = 'processing'
       AND NOT EXISTS (SELECT FROM :"nodes" AS n WHERE n.server_id = processing_server_id AND n.cancel_token = :'token'::uuid)
       FOR NO KEY UPDATE
), ended AS (
    UPDATE :"files" AS f
       SET processing_status = 'queued', processing_token = NULL, processing_epoch = NULL,
           processing_server_id = NULL, processing_started_at = NULL
      FROM mine WHERE f.id = mine.id
    RETURNING f.id
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor)
    SELECT 'attempt', 'released', 'queued', mine.id::text, server_id, token, attempt, started_at, :'reason', :'actor'
      FROM mine JOIN ended ON ended.id = mine.id
)
SELECT CASE WHEN EXISTS (SELECT FROM ended) THEN 'queued'
            WHEN EXISTS (SELECT FROM :"nodes" WHERE cancel_token = :'token'::uuid) THEN 'cancelled' ELSE 'lost' END AS answer, pg_notify(:'channel', '');
