-- Claim the next file for a node where lanes are on: the claim of claim.sql, of the first of these lanes that has one due.
--
-- psql: for nodes; by hand, claim_one.sql takes a file of any lane.
--
-- server_id, boot, epoch, token   as in claim.sql
-- lanes    the lanes to ask, in turn, as an array literal of the column's type; NULL is a lane, too
-- afters   a cursor for each of them, as `after` in claim.sql
--
-- Answers as claim.sql does, with the lane; when nothing is due it does not say when something will be (due_lanes.sql).
-- The lanes are asked one after the other, and only until one has a file: the ordinality is the order, nothing is sorted.
-- A lane is a range of its index, from its cursor to now. With an equality the index of the whole queue gives the same order,
-- and the planner takes that one where the statistics know of one lane alone: it reads a million files for one then.
\ir _session.sql
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN n.lease_until < now() OR p.scope IS NOT NULL THEN 'paused'
                WHEN n.state = 'active' OR n.state = 'quarantined' AND n.probe_at <= now()
                     THEN CASE WHEN b.scope IS NULL THEN 'open' ELSE 'broken' END
                ELSE 'paused' END AS answer,
           n.state = 'quarantined' AS probe, b.reason, b.next_probe_at
      FROM :"nodes" AS n
      LEFT JOIN LATERAL (SELECT scope FROM :"pauses" WHERE scope IN ('*', :'server_id') LIMIT 1) AS p ON true
      LEFT JOIN :"pauses" AS b ON b.scope = ' breaker' AND b.closed_at IS NULL
     WHERE n.server_id = :'server_id' AND n.boot = :'boot'::uuid AND n.epoch = :'epoch'::bigint
       FOR KEY SHARE OF n
), pick AS MATERIALIZED (
    SELECT first.id
      FROM ROWS FROM (pg_catalog.unnest(CAST(:'lanes' AS :"lane_schema".:"lane_array")), pg_catalog.unnest(:'afters'::timestamptz[]))
           WITH ORDINALITY AS l (lane, after, n)
     CROSS JOIN LATERAL (
           SELECT of_lane.id
             FROM (SELECT id FROM :"files"
                    WHERE processing_status = 'queued' AND deleted IS NOT TRUE
                      AND (:"lane", processing_queued_at) >= (l.lane, l.after) AND (:"lane", processing_queued_at) <= (l.lane, now())
                    ORDER BY :"lane", processing_queued_at, id
                    LIMIT 1
                      FOR NO KEY UPDATE SKIP LOCKED) AS of_lane
           UNION ALL
           SELECT of_none.id
             FROM (SELECT id FROM :"files"
                    WHERE l.lane IS NULL AND processing_status = 'queued' AND deleted IS NOT TRUE AND :"lane" IS NULL
                      AND processing_queued_at >= l.after AND processing_queued_at <= now()
                    ORDER BY :"lane", processing_queued_at, id
                    LIMIT 1
                      FOR NO KEY UPDATE SKIP LOCKED) AS of_none) AS first
     WHERE (SELECT answer FROM gate) = 'open'
     ORDER BY l.n
     LIMIT 1
), claimed AS (
    UPDATE :"files" AS f
       SET processing_status = 'processing', processing_server_id = :'server_id',
           processing_started_at = clock_timestamp(), processing_completed_at = NULL,
           processing_attempt = coalesce(processing_attempt, 0) + 1,
           processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
      FROM pick WHERE f.id = pick.id
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size::bigint AS file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, f.processing_queued_at::text AS queued_at,
              f.:"lane"::text AS lane
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN gate.answer = 'open' THEN 'empty'
            WHEN gate.answer = 'broken' THEN 'paused' ELSE coalesce(gate.answer, 'deposed') END AS outcome,
       claimed.*, coalesce(gate.probe, false) AS probe, CASE gate.answer WHEN 'broken' THEN gate.reason END AS broken,
       CASE WHEN gate.answer = 'broken' THEN extract(epoch FROM gate.next_probe_at - clock_timestamp())::float8 END AS next_seconds
  FROM (SELECT 1) AS one LEFT JOIN gate ON true LEFT JOIN claimed ON true;
