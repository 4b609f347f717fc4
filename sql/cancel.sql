-- Cancel: files that are queued or in processing fail at once, and nothing tries them again by itself.
--
-- psql "$DATABASE_URL" -v env=development -v which=ids -v ids='{17,18}' -v actor=me -v reason='wrong customer' -f sql/cancel.sql
--
-- which       ids: the files named; live: every file that status, server_id, search and of_lane let through
-- ids         the files, as an array literal (default '{}')
-- claims      of the files named only those that are claimed so still, as id/token (default '{}': all)
-- status      only this state: queued or processing; '' means both
-- server_id   only files in processing on this server; '' means any
-- search      only files whose name contains this, in any case; '' means any
-- of_lane     only files of this lane, (none) for those without one; '' means any
-- before      only files queued before this time, and those that wait for a later one; '' means any: for whoever calls
--             until nothing is left
-- row_limit   most rows in one call (default 10000)
-- actor, reason   who and why, for the history, which keeps the row as it was before
--
-- outcome     failed: ended, and a late write under its token is refused
--             asked: a transaction has its row locked (completing(), with the whole COPY of load_table in it), so its
--             node's supervisor is told to kill the processor and ends the attempt
--             busy: another statement has it for this moment; run it again
--
-- A supervisor hears of it by a notification, at the latest at its next heartbeat, by the token on its node's row; until
-- then a completion that is quicker wins. Nodes are locked in the order of their names, as everywhere.
\ir _session.sql
\ir _lane.sql
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?claims} \else \set claims '{}' \endif
\if :{?status} \else \set status '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?search} \else \set search '' \endif
\if :{?before} \else \set before '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH wanted AS MATERIALIZED (
    SELECT id, original_filename, processing_status AS status, processing_server_id AS server_id,
           processing_token AS token, processing_attempt AS attempt, processing_started_at AS started_at,
           processing_queued_at AS queued_at
      FROM :"files"
     WHERE (processing_status = 'processing' OR processing_status = 'queued' AND deleted IS NOT TRUE)
       AND (:'which' = 'ids' AND id = ANY (:'ids') OR :'which' = 'live')
       AND (:'claims'::text[] = '{}' OR id::text || '/' || coalesce(processing_token::text, '') = ANY (:'claims'::text[]))
       AND (:'status' = '' OR processing_status = :'status')
       AND (:'server_id' = '' OR processing_status = 'processing' AND processing_server_id = :'server_id')
       AND (:'search' = '' OR strpos(lower(original_filename::text), lower(:'search')) > 0)
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
       AND (:'before' = '' OR coalesce(processing_queued_at < nullif(:'before', '')::timestamptz OR processing_queued_at > clock_timestamp(), true))
     ORDER BY processing_queued_at, id
     LIMIT :'row_limit'::int
), free AS MATERIALIZED (
    SELECT f.id, f.original_filename, f.processing_status AS status, f.processing_server_id AS server_id,
           f.processing_token AS token, coalesce(f.processing_attempt, 0) AS attempt, f.processing_started_at AS started_at,
           coalesce(f.processing_failures, 0) AS failures, f.processing_errors AS errors, f.processing_failure AS failure
      FROM :"files" AS f
     WHERE f.id IN (SELECT id FROM wanted) AND f.processing_status IN ('queued', 'processing')
       AND (:'claims'::text[] = '{}' OR f.id::text || '/' || coalesce(f.processing_token::text, '') = ANY (:'claims'::text[]))
       AND (:'status' = '' OR f.processing_status = :'status')
       AND (:'server_id' = '' OR f.processing_status = 'processing' AND f.processing_server_id = :'server_id')
       FOR NO KEY UPDATE SKIP LOCKED
), updated AS (
    UPDATE :"files" AS f
       SET processing_status = 'failed', processing_completed_at = clock_timestamp(),
           processing_errors = pg_catalog.format('Cancelled by %s%s', :'actor'::text, ': ' || nullif(:'reason', '')),
           processing_failure = pg_catalog.jsonb_build_object('attempt', free.attempt, 'error', 'Cancelled', 'place', '', 'cancelled', true),
           processing_token = NULL, processing_epoch = NULL
      FROM free WHERE f.id = free.id
    RETURNING f.id, f.processing_status = 'failed' AS is_so
), ended AS MATERIALIZED (
    -- What the table's own triggers have made of it, or let through.
    SELECT free.* FROM free JOIN updated ON updated.id = free.id WHERE is_so
), locked AS MATERIALIZED (
    SELECT wanted.* FROM wanted WHERE NOT EXISTS (SELECT FROM free WHERE free.id = wanted.id)
), fleet AS MATERIALIZED (
    SELECT n.server_id, n.cancel_token
      FROM :"nodes" AS n
     WHERE n.server_id IN (SELECT server_id FROM ended UNION ALL SELECT server_id FROM locked)
     ORDER BY n.server_id
       FOR NO KEY UPDATE
), told AS (
    UPDATE :"nodes" AS n SET cancel_token = c.token
      FROM (SELECT server_id, token FROM ended WHERE status = 'processing' UNION ALL
            SELECT server_id, token FROM locked WHERE status = 'processing') AS c
      JOIN fleet ON fleet.server_id = c.server_id
     WHERE n.server_id = c.server_id AND c.token IS NOT NULL AND c.token IS DISTINCT FROM fleet.cancel_token
    RETURNING n.server_id, n.cancel_token AS token
), woken AS (
    SELECT pg_notify(:'cancel_channel', token::text) FROM told
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor, details)
    SELECT 'cancel', status, 'failed', id::text, server_id, token, attempt, started_at, :'reason', :'actor',
           pg_catalog.jsonb_build_object('processing_status', status, 'processing_server_id', server_id,
               'processing_started_at', started_at, 'processing_attempt', attempt, 'processing_failures', failures,
               'processing_errors', errors, 'processing_failure', failure)
      FROM ended
    UNION ALL
    SELECT 'cancel', status, 'processing', locked.id::text, locked.server_id, locked.token, attempt, started_at, :'reason', :'actor',
           NULL
      FROM locked JOIN told ON told.token = locked.token
), closed AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor, details)
    SELECT 'attempt', 'cancelled', 'failed', id::text, server_id, token, attempt, started_at,
           pg_catalog.format('Cancelled by %s%s', :'actor'::text, ': ' || nullif(:'reason', '')), :'actor',
           '{"error": "Cancelled", "place": ""}'
      FROM ended WHERE status = 'processing'
)
SELECT a.id::text AS id, a.original_filename, a.server_id, a.started_at, a.status AS was, a.outcome, a.reason
  FROM (SELECT id, original_filename, server_id, started_at, status, 'failed' AS outcome,
               CASE WHEN status = 'processing' AND token IS NULL
                    THEN 'claimed without a token: who claimed it can complete it all the same' END AS reason
          FROM ended
        UNION ALL
        SELECT id, original_filename, server_id, started_at, status, 'kept',
               'a trigger or rule of the table does not let its row be changed'
          FROM free WHERE id NOT IN (SELECT id FROM ended)
        UNION ALL
        SELECT l.id, l.original_filename, l.server_id, l.started_at, l.status,
               CASE WHEN fleet.server_id IS NOT NULL AND l.token IS NOT NULL AND l.status = 'processing' THEN 'asked' ELSE 'busy' END,
               CASE WHEN fleet.server_id IS NOT NULL AND l.token IS NOT NULL AND l.status = 'processing'
                    THEN 'its processor has the row locked: its node kills it'
                    ELSE 'another transaction has the row locked; cancel it again' END
          FROM locked AS l LEFT JOIN fleet ON fleet.server_id = l.server_id) AS a
  CROSS JOIN (SELECT count(*) FROM woken) AS said  -- a LEFT JOIN would be left out, and the notification with it
 ORDER BY a.started_at, a.id;
