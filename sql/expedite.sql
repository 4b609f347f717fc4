-- Expedite: queued files get a head start, as if they had come earlier, and overtake what came within it. No class of its
-- own: whatever came before that is still first, so nothing starves.
--
-- psql "$DATABASE_URL" -v env=development -v ids='{17,18}' -v ahead_seconds=7200 -v actor=me -v reason='the auditor waits' -f sql/expedite.sql
-- psql "$DATABASE_URL" -v env=development -v which=every -v of_lane=17 -v search=invoice -f sql/expedite.sql
--
-- which           ids: the files named (default); every: all queued ones that search and of_lane let through and that have no
--                 such head start already
-- ids             the files, as an array literal (default '{}'); those that are not queued are left alone
-- search          only files whose name contains this, in any case; '' means any
-- of_lane         only files of this lane, (none) for those without one; '' means any
-- row_limit       most rows in one call (default 10000)
-- ahead_seconds   the head start before their arrival (default 3600); 0 takes an earlier one back
-- actor, reason   who and why, for the history
--
-- The place in the queue is processing_queued_at. When the file really came stands in processing_arrived_at, so that waits
-- are told without the head start: a file came at the later of the two, also when it takes another place by a retry. A file
-- that waits for its retry, or for a time in the future, is due at once. A node that has passed the new place finds the
-- file at its next full look, within 5 s.
\ir _session.sql
\ir _lane.sql
\if :{?which} \else \set which ids \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?search} \else \set search '' \endif
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
\if :{?ahead_seconds} \else \set ahead_seconds 3600 \endif
\if :{?actor} \else \set actor psql \endif
\if :{?reason} \else \set reason '' \endif
WITH before AS MATERIALIZED (
    SELECT id, original_filename, processing_queued_at AS queued_at, processing_attempt AS attempt,
           least(greatest(processing_queued_at, processing_arrived_at), clock_timestamp()) AS arrived_at
      FROM :"files"
     WHERE (:'which' = 'ids' AND id = ANY (:'ids') OR :'which' = 'every') AND processing_status = 'queued' AND deleted IS NOT TRUE
       AND (:'search' = '' OR strpos(lower(original_filename::text), lower(:'search')) > 0)
       AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
       AND (:'which' = 'ids' OR processing_queued_at IS DISTINCT FROM
            least(greatest(processing_queued_at, processing_arrived_at), clock_timestamp()) - :'ahead_seconds'::float8 * interval '1 second')
     ORDER BY processing_queued_at, id
     LIMIT :'row_limit'::int
       FOR NO KEY UPDATE SKIP LOCKED
), updated AS (
    UPDATE :"files" AS f
       SET processing_arrived_at = before.arrived_at,
           processing_queued_at = before.arrived_at - :'ahead_seconds'::float8 * interval '1 second'
      FROM before WHERE f.id = before.id
    RETURNING f.id, f.processing_queued_at AS queued_at
), noted AS (
    INSERT INTO :"events" (kind, outcome, next_status, file_id, attempt, reason, actor, details)
    SELECT 'expedite', 'queued', 'queued', before.id::text, attempt, :'reason', :'actor',
           pg_catalog.jsonb_build_object('processing_queued_at', before.queued_at, 'ahead_seconds', :'ahead_seconds'::float8)
      FROM before JOIN updated ON updated.id = before.id
), woken AS (
    SELECT pg_notify(:'channel', '') WHERE EXISTS (SELECT FROM updated)
)
SELECT before.id::text AS id, original_filename, before.arrived_at, updated.queued_at AS place
  FROM before JOIN updated ON updated.id = before.id LEFT JOIN woken ON true
 ORDER BY place, before.id;
