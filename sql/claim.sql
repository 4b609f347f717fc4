-- Claim the next file for a node. Always answers one row: claimed, empty, paused or deposed.
--
-- psql "$DATABASE_URL" -v env=development -v server_id=by-hand -v boot=... -v epoch=... \
--      -v token=$(uuidgen) -v after=-infinity -f sql/claim.sql
--
-- server_id, boot, epoch   the node as it stands in the nodes table (register.sql); anything else is deposed
-- token                    a new uuid, made before asking, so that a lost answer can be looked up (held.sql)
-- after                    cursor: queued_at of the last file claimed, or -infinity for a full look. It skips
--                          the dead entries at the head of the queue index, which grow under a pinned xmin.
--
-- A node whose lease has run out is paused until its supervisor beats again: what it claimed now would be taken from
-- it by the next reaper, and a child whose supervisor is frozen would burn every file's retry budget, one by one.
--
-- A node in quarantine may claim when its probe is due; `probe` is true then, and it says so by probe.sql.
--
-- While the breaker is open (an error of the world fails every file) the answer is paused, too, with broken as the reason
-- and next_seconds until the next probe is due. breaker_close.sql closes it when a file has gone well meanwhile, whoever
-- completed it; else, when it is due, breaker_probe.sql claims a probe.
--
-- One statement, one commit. The materialized CTE is what makes it one row: an IN (... LIMIT 1 FOR UPDATE)
-- claimed five with stale planner statistics. FOR KEY SHARE on the node makes whoever raises its epoch
-- wait for us, so that a late claim of an old boot cannot land beside a new one's.
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
    RETURNING f.id::text AS id, f.original_filename, f.storage_path, f.file_size::bigint AS file_size, f.processing_attempt AS attempt,
              coalesce(f.processing_failures, 0) AS failures, f.processing_queued_at::text AS queued_at
)
SELECT CASE WHEN claimed.id IS NOT NULL THEN 'claimed' WHEN gate.answer = 'open' THEN 'empty'
            WHEN gate.answer = 'broken' THEN 'paused' ELSE coalesce(gate.answer, 'deposed') END AS outcome,
       claimed.*, coalesce(gate.probe, false) AS probe, CASE gate.answer WHEN 'broken' THEN gate.reason END AS broken,
       -- When nothing is due: seconds until the next retry is, so that nobody has to poll for it.
       CASE WHEN gate.answer = 'broken' THEN extract(epoch FROM gate.next_probe_at - clock_timestamp())::float8
            WHEN claimed.id IS NULL THEN
            (SELECT CASE WHEN isfinite(processing_queued_at)
                    THEN (extract(epoch FROM processing_queued_at) - extract(epoch FROM clock_timestamp()))::float8 END FROM :"files"
              WHERE processing_status = 'queued' AND deleted IS NOT TRUE
              ORDER BY processing_queued_at, id LIMIT 1) END AS next_seconds
  FROM (SELECT 1) AS one LEFT JOIN gate ON true LEFT JOIN claimed ON true;
