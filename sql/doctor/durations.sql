-- Files that ran longer than they may stay without progress, among the newest of those that completed.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/durations.sql
--
-- stale_after_seconds   the threshold where the node is not known; a known one's own is taken (default 3600)
-- since_days            how far back (default 30)
-- row_limit             most files to look at, newest first (default 10000)
\ir ../_session.sql
\if :{?stale_after_seconds} \else \set stale_after_seconds 3600 \endif
\if :{?since_days} \else \set since_days 30 \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
SELECT count(*) AS seen, count(*) FILTER (WHERE seconds > threshold) AS longer, max(seconds)::float8 AS longest_seconds,
       min(threshold) FILTER (WHERE seconds > threshold) AS threshold_seconds
  FROM (SELECT extract(epoch FROM f.processing_completed_at - f.processing_started_at) AS seconds,
               coalesce(n.stale_after_seconds, :'stale_after_seconds'::float8) AS threshold
          FROM (SELECT processing_completed_at, processing_started_at, processing_server_id FROM :"files"
                 WHERE processing_status = 'completed'
                   AND processing_completed_at >= now() - :'since_days'::float8 * interval '1 day'
                 ORDER BY processing_completed_at DESC LIMIT :'row_limit'::int) AS f
          LEFT JOIN :"nodes" AS n ON n.server_id = f.processing_server_id) AS runs;
