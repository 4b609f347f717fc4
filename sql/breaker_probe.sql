-- Claim a file as the probe of an open breaker: the claim of claim.sql, for one node at a time, of a random untried file.
--
-- psql: for nodes, when claim.sql answers that the breaker is open and its probe is due.
--
-- server_id, boot, epoch, token   as in claim.sql
--
-- Answers one row, as claim.sql does: claimed, deposed, or paused when another node was first.
--
-- The probe's time is in the breaker's record: whoever raises it first claims. The next is due after 1, 2, 4, at most 30 s,
-- whatever became of this one, so that a node that dies at it, or takes hours, keeps nobody waiting.
-- Random, because the head of the queue may be what is broken; untried, because a file that was tried may be. Looked for
-- among 200 files from the head of the queue and 200 from a random time on.
\ir _session.sql
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN n.state <> 'active' OR n.lease_until < now()
                     OR EXISTS (SELECT FROM :"pauses" WHERE scope IN ('*', :'server_id')) THEN 'paused' ELSE 'open' END AS answer
      FROM :"nodes" AS n
     WHERE n.server_id = :'server_id' AND n.boot = :'boot'::uuid AND n.epoch = :'epoch'::bigint
       FOR KEY SHARE OF n
), ends AS MATERIALIZED (
    SELECT (SELECT processing_queued_at FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
             ORDER BY processing_queued_at, id LIMIT 1) AS first,
           (SELECT processing_queued_at FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE
               AND processing_queued_at <= now() ORDER BY processing_queued_at DESC, id DESC LIMIT 1) AS last
), place AS MATERIALIZED (
    SELECT first + (last - first) * random() AS at FROM ends
), candidates AS MATERIALIZED (
    SELECT id, min(failures) AS failures, bool_and(tried) AS tried, random() AS shuffle
      FROM ((SELECT id, coalesce(processing_failures, 0) AS failures, coalesce(processing_attempt, 0) > 0 AS tried
               FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE AND processing_queued_at <= now()
              ORDER BY processing_queued_at, id LIMIT 200)
            UNION ALL
            (SELECT id, coalesce(processing_failures, 0), coalesce(processing_attempt, 0) > 0
               FROM :"files" WHERE processing_status = 'queued' AND deleted IS NOT TRUE AND processing_queued_at <= now()
                AND processing_queued_at >= (SELECT at FROM place)
              ORDER BY processing_queued_at, id LIMIT 200)) AS either
     GROUP BY id
), mine AS MATERIALIZED (
    UPDATE :"pauses" AS p
       SET probe_seconds = least(30, 2 * p.probe_seconds),
           next_probe_at = clock_timestamp() + least(30, 2 * p.probe_seconds) * interval '1 second'
     WHERE p.scope = ' breaker' AND p.closed_at IS NULL AND p.next_probe_at <= clock_timestamp()
       AND (SELECT answer FROM gate) = 'open' AND EXISTS (SELECT FROM candidates)
    RETURNING p.scope
), pick AS MATERIALIZED (
    SELECT f.id FROM candidates AS c JOIN :"files" AS f ON f.id = c.id
     WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND EXISTS (SELECT FROM mine)
     ORDER BY c.tried, c.failures, c.shuffle
     LIMIT 1
       FOR NO KEY UPDATE OF f SKIP LOCKED
), claimed AS (
    UPDATE :"files" AS f
       SET processing_status = 'processing', processing_server_id = :'server_id',
           processing_started_at = clock_timestamp(), processing_completed_at = NULL,
           processing_attempt = coalesce(processing_attempt, 0) + 1,
           processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
      FROM pick WHERE f.id = pick.id
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size::bigint AS file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, '-infinity'::text AS queued_at
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN gate.answer IS NULL THEN 'deposed' ELSE 'paused' END AS outcome,
       claimed.*, CASE WHEN claimed.id IS NULL THEN 1::float8 END AS next_seconds
  FROM (SELECT 1) AS one LEFT JOIN gate ON true LEFT JOIN claimed ON true;
