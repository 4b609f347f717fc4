-- Whoever works on this table without a token, as processors do that know nothing of opskit: what each holds now, what
-- it has ended in the last hour, and how long ago [s] it was last seen to do something.
SELECT server, count(*) FILTER (WHERE status = 'processing') AS holding, count(*) FILTER (WHERE status <> 'processing') AS ended,
       extract(epoch FROM clock_timestamp() - max(at))::float8 AS last_seconds
  FROM (SELECT coalesce(processing_server_id, 'somebody unnamed') AS server, processing_status AS status, processing_started_at AS at
          FROM :"files" WHERE processing_status = 'processing' AND processing_token IS NULL
        UNION ALL
        SELECT coalesce(processing_server_id, 'somebody unnamed'), processing_status, processing_completed_at
          FROM :"files" AS f
         WHERE processing_status IN ('completed', 'failed') AND processing_done_token IS NULL AND processing_token IS NULL
           AND processing_completed_at > clock_timestamp() - interval '1 hour' AND processing_completed_at <= clock_timestamp()
           -- What a node has failed, or cleanup has ended, is in the history.
           AND NOT EXISTS (SELECT FROM :"events" AS e WHERE e.file_id = f.id::text AND e.kind = 'attempt')) AS seen
 GROUP BY server ORDER BY last_seconds, server;
