-- What speaks for and against each claim, beside the verdict of stale.sql; reads only. One row a claim.
--
-- psql "$DATABASE_URL" -v env=development -f sql/evidence.sql
--
-- Its columns: the file last moved at moved_at (its claim, or the progress that its node told); its node last said
-- that it lives at beat_at (NULL: nobody knows the server), started again after this claim at booted_at, said good-bye
-- at stopped_at. A first look saw the same at suspected_at (lease run out, or file not moving); a second one decides.
-- sessions: how many database sessions the claim's boot holds, by their application_name (opskit ENVIRONMENT BOOT SERVER);
-- NULL when that cannot be told: a pooler stands between, the nodes are of an older version, or the server is unknown.
\ir _session.sql
WITH sessions AS MATERIALIZED (
    SELECT name[1] AS boot, name[2] AS server_id, octet_length(application_name) = 63 AS cut
      FROM pg_stat_activity, regexp_match(application_name, '^opskit \w+ ([0-9a-f]{8}) (.+)$') AS name
     WHERE datname = current_database() AND name IS NOT NULL
)
SELECT f.id::text || '/' || coalesce(f.processing_token::text, '') AS claim,
       f.processing_server_id AS server_id,
       greatest(f.processing_started_at, CASE WHEN n.token = f.processing_token THEN n.progress_at END) AS moved_at,
       CASE WHEN n.token = f.processing_token THEN n.progress_done END AS progress_done,
       CASE WHEN n.token = f.processing_token THEN n.progress_total END AS progress_total,
       n.beat_at, n.lease_until, n.lease_seconds, n.stale_after_seconds, n.host, n.pid, n.stopped_at,
       CASE WHEN f.processing_epoch < n.first_epoch THEN n.started_at END AS booted_at,
       CASE WHEN n.lease_until < clock_timestamp() THEN CASE WHEN n.looked_lease = n.lease_until THEN n.looked_at END
            WHEN n.stale_token = f.processing_token THEN n.stale_at END AS suspected_at,
       CASE WHEN n.server_id IS NULL THEN NULL
            WHEN held.sessions = 0 AND NOT EXISTS (SELECT FROM sessions)
                 AND EXISTS (SELECT FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL) THEN NULL
            ELSE held.sessions END AS sessions
  FROM :"files" AS f
  LEFT JOIN :"nodes" AS n ON n.server_id = f.processing_server_id AND f.processing_token IS NOT NULL
 CROSS JOIN LATERAL (
       SELECT count(*) AS sessions FROM sessions AS s
        WHERE CASE WHEN f.processing_epoch < n.first_epoch
                   -- An earlier boot: the same server, under a name that is not this boot's.
                   THEN s.boot <> left(n.boot::text, 8)
                        AND CASE WHEN s.cut THEN starts_with(n.server_id, s.server_id) ELSE n.server_id = s.server_id END
                   ELSE s.boot = left(n.boot::text, 8) END) AS held
 WHERE f.processing_status = 'processing'
 ORDER BY f.processing_started_at, f.id;
