-- The nodes: who is there, what each does, how far it is.
--
-- psql "$DATABASE_URL" -v env=development -f sql/nodes.sql
--
-- lanes: which lanes it takes; lane: that of its file. NULL: all, and none
-- state: live, paused, draining, quarantined ; silent (a heartbeat is overdue) ; dead (its lease has run out) ; stopped
\ir _session.sql
\ir _lane.sql
SELECT n.server_id,
       CASE WHEN n.stopped_at IS NOT NULL THEN 'stopped'
            WHEN n.lease_until < clock_timestamp() THEN 'dead'
            WHEN n.beat_at < clock_timestamp() - n.lease_seconds * 0.7 * interval '1 second' THEN 'silent'
            WHEN n.state <> 'active' THEN n.state
            WHEN p.scope IS NOT NULL THEN 'paused'
            ELSE 'live' END AS state,
       f.original_filename,
       CASE WHEN f.processing_started_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM f.processing_started_at), -1e10), 1e10) END::float8 / 60 AS minutes_processing,
       CASE WHEN n.token = f.processing_token THEN n.progress_done END AS progress_done,
       CASE WHEN n.token = f.processing_token THEN n.progress_total END AS progress_total,
       n.beat_at, CASE WHEN n.beat_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM n.beat_at), -1e10), 1e10) END::float8 AS seconds_since_heartbeat,
       n.started_at, n.host, n.pid, n.version, n.memory_bytes, f.id::text AS file_id,
       -- Which lanes it takes, in words, and that of its file; NULL: all, and none.
       nullif(concat_ws('; ', (SELECT pg_catalog.string_agg(coalesce(one, '(none)'), ', ') FROM pg_catalog.jsonb_array_elements_text(n.lanes -> 'only') AS one),
                        'all but ' || (SELECT pg_catalog.string_agg(coalesce(one, '(none)'), ', ')
                                         FROM pg_catalog.jsonb_array_elements_text(n.lanes -> 'except') AS one)), '') AS lanes,
       CASE :'lane_column' WHEN 'processing_status' THEN NULL ELSE f.:"lane_column"::text END AS lane
  FROM :"nodes" AS n
  LEFT JOIN LATERAL (SELECT scope FROM :"pauses" WHERE scope IN ('*', n.server_id) LIMIT 1) AS p ON true
  LEFT JOIN :"files" AS f ON f.processing_status = 'processing' AND f.processing_server_id = n.server_id
                         AND f.processing_epoch >= n.first_epoch
 ORDER BY n.stopped_at IS NOT NULL, n.server_id;
