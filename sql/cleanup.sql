-- Clean up: end stale claims and orphans. One re-runnable statement; every condition is judged anew, on locked rows.
--
-- psql "$DATABASE_URL" -v env=development -f sql/cleanup.sql
--
-- stale_after_seconds   age at which a claim without a known node is stale (default 3600); a known node's claim
--                       is judged by that node's own values
-- look_seconds          how old the look must be that saw the same lease end (default 2); '' means a third
--                       of the node's own lease, its beat, as nodes do it
-- claims                only these, as id/token (default {}: all); a claim that has moved on is skipped
-- server_id             only this server's (default '': all)
-- row_limit             most rows to end in one call (default 10000)
-- actor, reason         who and why, for the history
--
-- What is ended:
--   stale    no token or an unknown server, started longer ago than stale_after_seconds: at once
--   stale    a live node's claim that two looks saw without progress for the node's stale_after
--   orphan   a claim of an earlier boot of its node: at once
--   orphan   a claim of a node whose lease has run out, when a look saw that same lease end before
-- What is answered beside it as `pending`: what a second look would end, and what the table's own triggers do not let end.
-- stale fails ("Processing timeout"); an orphan is queued again while failures < max, unless its node says on_orphan = fail.
\ir _session.sql
\if :{?stale_after_seconds} \else \set stale_after_seconds 3600 \endif
\if :{?look_seconds} \else \set look_seconds 2 \endif
\if :{?claims} \else \set claims '{}' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
\ir evict.sql
\ir look.sql
WITH judged AS MATERIALIZED (
    SELECT f.id, f.original_filename, f.processing_server_id AS server_id, f.processing_token AS token,
           f.processing_attempt AS attempt, f.processing_started_at AS started_at,
           coalesce(f.processing_failures, 0) + 1 AS failures, n.lease_until, n.on_orphan, n.max_failures,
           coalesce(n.cancel_token = f.processing_token, false) AS cancelled, judge.verdict, judge.moved_at
      FROM :"files" AS f
      LEFT JOIN :"nodes" AS n ON n.server_id = f.processing_server_id AND f.processing_token IS NOT NULL
     CROSS JOIN LATERAL (
           SELECT greatest(f.processing_started_at, CASE WHEN n.token = f.processing_token THEN n.progress_at END)
                  AS moved_at) AS progress
     CROSS JOIN LATERAL (
           SELECT progress.moved_at,
                  CASE WHEN n.server_id IS NULL THEN
                            CASE WHEN progress.moved_at < clock_timestamp() - :'stale_after_seconds'::float8 * interval '1 second'
                                 THEN 'stale' ELSE 'unproven' END
                       WHEN f.processing_epoch < n.first_epoch THEN 'rebooted'
                       WHEN n.lease_until < clock_timestamp() THEN
                            CASE WHEN n.looked_lease = n.lease_until
                                      AND n.looked_at <= clock_timestamp()
                                          - coalesce(nullif(:'look_seconds', '')::float8, n.lease_seconds / 3) * interval '1 second'
                                 THEN 'dead' ELSE 'silent' END
                       WHEN progress.moved_at < clock_timestamp() - n.stale_after_seconds * interval '1 second' THEN
                            CASE WHEN n.stale_token = f.processing_token
                                      AND n.stale_at <= clock_timestamp()
                                          - coalesce(nullif(:'look_seconds', '')::float8, n.lease_seconds / 3) * interval '1 second'
                                 THEN 'hung' ELSE 'stuck' END
                       ELSE 'alive' END AS verdict) AS judge
     WHERE f.processing_status = 'processing'
       AND (:'claims'::text[] = '{}' OR f.id::text || '/' || coalesce(f.processing_token::text, '') = ANY (:'claims'::text[]))
       AND (:'server_id' = '' OR f.processing_server_id = :'server_id')
       AND judge.verdict NOT IN ('alive', 'unproven')
     ORDER BY f.processing_started_at, f.id
     LIMIT :'row_limit'::int
       FOR NO KEY UPDATE OF f SKIP LOCKED
), decided AS (
    SELECT judged.*,
           CASE WHEN cancelled OR verdict IN ('stale', 'hung') OR on_orphan = 'fail' OR failures >= max_failures
                THEN 'failed' ELSE 'queued' END AS next_status,
           CASE WHEN cancelled THEN 'cancelled' WHEN verdict IN ('stale', 'hung') THEN 'timeout' ELSE 'orphaned' END AS outcome,
           CASE WHEN cancelled THEN pg_catalog.format('Cancelled: asked for while %s held it', server_id) ELSE CASE verdict
                WHEN 'rebooted' THEN pg_catalog.format('Orphaned: %s has started again since it claimed the file', server_id)
                WHEN 'dead' THEN pg_catalog.format('Orphaned: %s has been silent since %s (its lease ended at %s)', server_id,
                                        to_char(moved_at, 'YYYY-MM-DD HH24:MI:SS'), to_char(lease_until, 'YYYY-MM-DD HH24:MI:SS'))
                ELSE pg_catalog.format('Processing timeout: no progress for %s minutes on %s',
                            round(CASE WHEN moved_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM moved_at), -1e10), 1e10) END / 60), coalesce(server_id, 'an unnamed server'))
           END END AS why,
           -- What it is grouped by: neither the node nor the time.
           CASE WHEN cancelled THEN 'Cancelled' WHEN verdict = 'rebooted' THEN 'Orphaned: its node has started again'
                WHEN verdict = 'dead' THEN 'Orphaned: its node has been silent'
                ELSE 'Processing timeout: no progress' END AS error
      FROM judged WHERE verdict IN ('stale', 'hung', 'rebooted', 'dead')
), updated AS (
    UPDATE :"files" AS f
       SET processing_status = d.next_status, processing_failures = d.failures - d.cancelled::int, processing_errors = d.why,
           processing_failure = pg_catalog.jsonb_build_object('attempt', d.attempt, 'error', d.error, 'place', '')
               || CASE WHEN d.cancelled THEN '{"cancelled": true}' ELSE '{}' END::jsonb,
           processing_token = NULL, processing_epoch = NULL,
           processing_server_id = CASE d.next_status WHEN 'failed' THEN d.server_id END,
           processing_started_at = CASE d.next_status WHEN 'failed' THEN f.processing_started_at END,
           processing_completed_at = CASE d.next_status WHEN 'failed' THEN clock_timestamp() END,
           processing_queued_at = CASE d.next_status WHEN 'failed' THEN f.processing_queued_at ELSE clock_timestamp() END
      FROM decided AS d WHERE f.id = d.id
    RETURNING f.id, f.processing_status = d.next_status AS is_so
), ended AS (
    -- What the table's own triggers have made of it, or let through.
    SELECT id FROM updated WHERE is_so
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, server_id, token, attempt, started_at, reason, actor, details)
    SELECT 'attempt', outcome, next_status, d.id::text, server_id, token, attempt, started_at, why, :'actor',
           pg_catalog.jsonb_build_object('cleanup', true, 'said', nullif(:'reason', ''), 'verdict', verdict, 'error', error, 'place', '', 'kind', 'file')
      FROM decided AS d JOIN ended ON ended.id = d.id
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM decided JOIN ended ON ended.id = decided.id WHERE next_status = 'queued')
)
SELECT judged.id::text AS id, judged.original_filename, judged.server_id, judged.started_at, judged.verdict,
       CASE WHEN ended.id IS NULL THEN 'pending' ELSE d.next_status END AS outcome,
       CASE WHEN ended.id IS NOT NULL THEN d.why
            WHEN d.id IS NOT NULL THEN 'it should end, and a trigger or rule of the table does not let its row be changed'
            ELSE CASE judged.verdict WHEN 'silent' THEN 'its lease has run out; a second look must see the same'
                                           ELSE 'it makes no progress; a second look must see the same' END END AS reason,
       judged.id::text || '/' || coalesce(judged.token::text, '') AS claim
  FROM judged LEFT JOIN decided AS d ON d.id = judged.id LEFT JOIN ended ON ended.id = judged.id LEFT JOIN woken ON true
 ORDER BY judged.started_at, judged.id;
