-- How many files ended in each stretch of time, and how long they waited and ran.
--
-- psql "$DATABASE_URL" -v env=development -f sql/throughput.sql
--
-- since_seconds    how far back (default 86400)
-- bucket_seconds   length of a stretch (default 3600)
-- of_lane          only files of this lane, (none) for those without one (default '': all)
--
-- Failed attempts that are tried again do not count; they stand in the events. From now() on, not clock_timestamp(): that
-- is volatile, so no index could be asked for it, and the whole table would be read.
\ir _session.sql
\ir _lane.sql
\if :{?since_seconds} \else \set since_seconds 86400 \endif
\if :{?bucket_seconds} \else \set bucket_seconds 3600 \endif
\if :{?of_lane} \else \set of_lane '' \endif
SELECT to_timestamp(floor(extract(epoch FROM processing_completed_at) / :'bucket_seconds'::float8)
                    * :'bucket_seconds'::float8) AS bucket_start,
       processing_status, processing_server_id, count(*) AS file_count,
       avg(extract(epoch FROM processing_started_at - greatest(processing_queued_at, processing_arrived_at)))::float8 AS mean_wait_seconds,
       avg(extract(epoch FROM processing_completed_at - processing_started_at))::float8 AS mean_run_seconds
  FROM :"files"
 WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
   AND processing_completed_at >= now() - :'since_seconds'::float8 * interval '1 second'
   AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
 GROUP BY 1, 2, 3
 ORDER BY 1, 2, 3;
