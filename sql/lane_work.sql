-- What became of each lane's files lately: how many ended, how long they waited and ran. Most files first.
--
-- psql "$DATABASE_URL" -v env=development -v since_seconds=86400 -f sql/lane_work.sql
--
-- since_seconds   how far back (default 3600)
-- row_limit       most lanes (default 1000)
--
-- share   of the time that nodes have spent on files: who keeps the fleet busy
--
-- lanes.sql tells what is queued and in processing. From the index of what has ended: what the time holds is read, no more.
\ir _session.sql
\ir _lane.sql
\if :{?lane}
\else
\ir _no_lanes.sql
\endif
\if :{?since_seconds} \else \set since_seconds 3600 \endif
\if :{?row_limit} \else \set row_limit 1000 \endif
SELECT f.:"lane"::text AS lane, count(*) AS ended, count(*) FILTER (WHERE f.processing_status = 'completed') AS completed,
       count(*) FILTER (WHERE f.processing_status = 'failed') AS failed,
       avg(extract(epoch FROM f.processing_started_at - greatest(f.processing_queued_at, f.processing_arrived_at)))::float8 AS mean_wait_seconds,
       percentile_cont(0.95) WITHIN GROUP (
           ORDER BY extract(epoch FROM f.processing_started_at - greatest(f.processing_queued_at, f.processing_arrived_at))::float8) AS wait_p95_seconds,
       avg(extract(epoch FROM f.processing_completed_at - f.processing_started_at))::float8 AS mean_run_seconds,
       sum(extract(epoch FROM f.processing_completed_at - f.processing_started_at))::float8 AS run_seconds,
       (sum(extract(epoch FROM f.processing_completed_at - f.processing_started_at))
        / nullif(sum(sum(extract(epoch FROM f.processing_completed_at - f.processing_started_at))) OVER (), 0))::float8 AS share,
       max(f.processing_completed_at) AS latest
  FROM :"files" AS f
 WHERE f.processing_status IN ('completed', 'failed') AND f.deleted IS NOT TRUE
   AND f.processing_completed_at >= now() - :'since_seconds'::float8 * interval '1 second'
 GROUP BY f.:"lane"
 ORDER BY ended DESC, lane
 LIMIT :'row_limit'::int;
