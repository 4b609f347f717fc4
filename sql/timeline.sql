-- The timeline: every attempt as a bar from its claim to its end, and what happened to the nodes as marks between them.
--
-- psql "$DATABASE_URL" -v env=development -f sql/timeline.sql
--
-- since_seconds   begin of the window, so long ago (default 3600)
-- until_seconds   its end, so long ago (default 0: now)
-- row_limit       most rows, the newest (default 2000)
--
-- kind       attempt: a bar from started_at to ended_at ; boot, stop, state, pause, resume, breaker, migrate: a mark at started_at
-- outcome    of an attempt: completed, failed, processing, or what went wrong (raised, crashed, timeout, orphaned, ...)
-- followed   the state that followed: queued when it was tried again
-- cleaned    a cleanup ended it, an operator's or another node's: a mark at its end
-- overlaps   another attempt at the same file was under way at the same time: what must never be
--
-- An attempt that ended more than one window's length after the window is not looked for.
\ir _session.sql
\if :{?since_seconds} \else \set since_seconds 3600 \endif
\if :{?until_seconds} \else \set until_seconds 0 \endif
\if :{?row_limit} \else \set row_limit 2000 \endif
-- Each edge is a subquery of its own: joined, they would cost the index that finds the window (0.6 s at a million files).
WITH edges AS MATERIALIZED (
    SELECT now, now - :'since_seconds'::float8 * interval '1 second' AS begins,
           now - :'until_seconds'::float8 * interval '1 second' AS ends,
           now - greatest(0, 2 * :'until_seconds'::float8 - :'since_seconds'::float8) * interval '1 second' AS horizon
      FROM (SELECT clock_timestamp() AS now) AS clock
), held AS (
    SELECT 'attempt' AS kind, f.processing_server_id AS server_id, f.id::text AS file_id, f.original_filename,
           f.processing_attempt AS attempt, f.processing_started_at::timestamptz AS started_at,
           (SELECT now FROM edges) AS ended_at, 'processing' AS outcome, NULL AS followed, false AS cleaned, NULL AS reason, NULL AS actor
      FROM :"files" AS f
     WHERE f.processing_status = 'processing' AND f.processing_started_at < (SELECT ends FROM edges)
     ORDER BY f.processing_started_at DESC LIMIT :'row_limit'::int
), ended AS (
    -- The completion stands in the row alone; a failure has its event, unless an older processor wrote it.
    SELECT 'attempt', f.processing_server_id, f.id::text, f.original_filename, f.processing_attempt,
           f.processing_started_at::timestamptz, f.processing_completed_at::timestamptz, f.processing_status,
           NULL, false, CASE f.processing_status WHEN 'failed' THEN substring(right(f.processing_errors::text, 500) FROM '[^\n]*$') END, NULL
      FROM :"files" AS f
     WHERE f.processing_status IN ('completed', 'failed') AND f.deleted IS NOT TRUE
       AND f.processing_completed_at >= (SELECT begins FROM edges) AND f.processing_completed_at <= (SELECT horizon FROM edges)
       AND f.processing_started_at < (SELECT ends FROM edges)
       AND (f.processing_status = 'completed' OR NOT EXISTS (
            SELECT FROM :"events" AS e WHERE e.file_id = f.id::text AND e.kind = 'attempt' AND e.next_status = 'failed'
               AND e.attempt IS NOT DISTINCT FROM f.processing_attempt))
     ORDER BY f.processing_completed_at DESC LIMIT :'row_limit'::int
), noted AS (
    SELECT CASE WHEN e.kind = 'requeue' THEN 'attempt' ELSE e.kind END, e.server_id, e.file_id, NULL, e.attempt,
           CASE WHEN e.kind IN ('attempt', 'requeue') THEN e.started_at ELSE e.at END,
           CASE e.kind WHEN 'attempt' THEN e.at WHEN 'requeue' THEN e.ended_at END,
           e.outcome, CASE e.kind WHEN 'attempt' THEN e.next_status END, coalesce(e.details @> '{"cleanup": true}', false),
           CASE WHEN e.kind = 'attempt' THEN substring(right(e.reason, 500) FROM '[^\n]*$') ELSE left(e.reason, 500) END, e.actor
      FROM :"events" AS e
     WHERE e.at >= (SELECT begins FROM edges) AND e.at <= (SELECT horizon FROM edges)
       AND (e.kind = 'attempt' AND e.started_at < (SELECT ends FROM edges)
            -- What was requeued after it had completed: its bar is known from here alone.
            OR e.kind = 'requeue' AND e.outcome = 'completed' AND e.ended_at >= (SELECT begins FROM edges)
               AND e.started_at < (SELECT ends FROM edges)
            OR e.kind IN ('boot', 'stop', 'state', 'pause', 'resume', 'breaker', 'migrate') AND e.at < (SELECT ends FROM edges))
     ORDER BY e.at DESC LIMIT :'row_limit'::int
), newest AS (
    SELECT * FROM held UNION ALL SELECT * FROM ended UNION ALL SELECT * FROM noted
     ORDER BY started_at DESC, file_id LIMIT :'row_limit'::int
)
SELECT kind, server_id, file_id, original_filename, attempt, started_at, ended_at, outcome, followed, cleaned,
       kind = 'attempt' AND coalesce(started_at < max(ended_at) OVER earlier OR ended_at > min(started_at) OVER later, false)
       AS overlaps, reason, actor
  FROM newest
WINDOW earlier AS (PARTITION BY kind, file_id ORDER BY started_at, attempt ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
       later AS (PARTITION BY kind, file_id ORDER BY started_at, attempt ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
 ORDER BY started_at, file_id;
