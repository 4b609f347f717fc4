-- Every claim that cleanup would end or suspects, with the evidence; reads only.
--
-- psql "$DATABASE_URL" -v env=development -f sql/stale.sql
--
-- stale_after_seconds   as in cleanup.sql (default 3600)
-- look_seconds          as in cleanup.sql (default 2)
-- every                 true: the claims that are well, too (default false)
--
-- verdict: stale, hung, dead, rebooted (cleanup ends it) ; silent, stuck (a second look decides) ; alive, unproven
\ir _session.sql
\if :{?stale_after_seconds} \else \set stale_after_seconds 3600 \endif
\if :{?look_seconds} \else \set look_seconds 2 \endif
\if :{?every} \else \set every false \endif
SELECT f.id::text AS id, f.original_filename, f.processing_server_id, f.processing_started_at,
       CASE WHEN f.processing_started_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM f.processing_started_at), -1e10), 1e10) END::float8 / 60 AS minutes_processing,
       CASE WHEN progress.moved_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM progress.moved_at), -1e10), 1e10) END::float8 / 60 AS minutes_without_progress,
       CASE WHEN n.beat_at IS NOT NULL THEN least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM n.beat_at), -1e10), 1e10) END::float8 AS seconds_since_heartbeat,
       f.processing_attempt, coalesce(f.processing_failures, 0) AS processing_failures,
       judge.verdict,
       CASE WHEN judge.verdict IN ('alive', 'unproven') THEN NULL
            WHEN judge.verdict IN ('stale', 'hung', 'stuck') OR n.on_orphan = 'fail' OR n.cancel_token = f.processing_token
                 OR coalesce(f.processing_failures, 0) + 1 >= n.max_failures THEN 'failed'
            ELSE 'queued' END AS would_become,
       f.id::text || '/' || coalesce(f.processing_token::text, '') AS claim
  FROM :"files" AS f
  LEFT JOIN :"nodes" AS n ON n.server_id = f.processing_server_id AND f.processing_token IS NOT NULL
 CROSS JOIN LATERAL (
       SELECT greatest(f.processing_started_at, CASE WHEN n.token = f.processing_token THEN n.progress_at END)
              AS moved_at) AS progress
 CROSS JOIN LATERAL (
       SELECT CASE WHEN n.server_id IS NULL THEN
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
 WHERE f.processing_status = 'processing' AND (:'every'::boolean OR judge.verdict NOT IN ('alive', 'unproven'))
 ORDER BY f.processing_started_at, f.id;
