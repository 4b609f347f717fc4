-- How many files of one lane each server has in each state; as distribution.sql for all of them.
--
-- psql "$DATABASE_URL" -v env=development -v of_lane=north -f sql/distribution_of_lane.sql
--
-- of_lane   the lane; (none) for files without one
--
-- No index of ours holds the lane of what has ended: the whole table is read.
\ir _session.sql
\ir _lane.sql
\if :{?lane}
\else
\ir _no_lanes.sql
\endif
SELECT CASE f.processing_status WHEN 'queued' THEN NULL ELSE f.processing_server_id END AS processing_server_id,
       f.processing_status, count(*) AS file_count
  FROM :"files" AS f
 WHERE f.processing_status IS NOT NULL AND f.deleted IS NOT TRUE
   AND (f.:"lane"::text = :'of_lane' OR f.:"lane" IS NULL AND :'of_lane' = '(none)')
 GROUP BY 1, 2
 ORDER BY processing_server_id NULLS FIRST, processing_status;
