-- The same statement of that earlier version: its nodes go on with it while the table is upgraded.
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN n.state <> 'active' OR p.scope IS NOT NULL THEN 'paused' ELSE 'open' END AS answer
      FROM :"nodes" AS n
      LEFT JOIN LATERAL (SELECT scope FROM :"pauses" WHERE scope IN ('*', :'server_id') LIMIT 1) AS p ON true
     WHERE n.server_id = :'server_id' AND n.boot = :'boot'::uuid AND n.epoch = :'epoch'::bigint
       FOR KEY SHARE OF n
), pick AS MATERIALIZED (
    SELECT id FROM :"files"
     WHERE processing_status = 'queued' AND deleted IS NOT TRUE
       AND processing_queued_at >= :'after'::timestamptz AND processing_queued_at <= now()
       AND (SELECT answer FROM gate) = 'open'
     ORDER BY processing_queued_at, id
     LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE :"files" AS f
       SET processing_status = 'processing', processing_server_id = :'server_id',
           processing_started_at = clock_timestamp(), processing_completed_at = NULL,
           processing_attempt = coalesce(processing_attempt, 0) + 1,
           processing_token = :'token'::uuid, processing_done_token = NULL, processing_epoch = :'epoch'::bigint
      FROM pick WHERE f.id = pick.id
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, f.processing_queued_at::text AS queued_at
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN gate.answer = 'open' THEN 'empty'
            ELSE coalesce(gate.answer, 'deposed') END AS outcome,
       claimed.*,
       -- When nothing is due: seconds until the next retry is, so that nobody has to poll for it.
       CASE WHEN claimed.id IS NULL THEN
            (SELECT extract(epoch FROM processing_queued_at - clock_timestamp())::float8 FROM :"files"
              WHERE processing_status = 'queued' AND deleted IS NOT TRUE
              ORDER BY processing_queued_at, id LIMIT 1) END AS next_seconds
  FROM (SELECT 1) AS one LEFT JOIN gate ON true LEFT JOIN claimed ON true;
