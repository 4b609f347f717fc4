-- What cancel.sql would cancel, oldest place first; changes nothing.
--
-- psql "$DATABASE_URL" -v env=development -v which=live -v status=queued -f sql/cancellable.sql
--
-- which, ids, status, server_id, search, of_lane, row_limit   as in cancel.sql
\ir _session.sql
\ir _lane.sql
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?status} \else \set status '' \endif
\if :{?server_id} \else \set server_id '' \endif
\if :{?search} \else \set search '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
SELECT id::text AS id, original_filename, processing_status, processing_server_id, processing_queued_at,
       processing_started_at, processing_attempt
  FROM :"files"
 WHERE (processing_status = 'processing' OR processing_status = 'queued' AND deleted IS NOT TRUE)
   AND (:'which' = 'ids' AND id = ANY (:'ids') OR :'which' = 'live')
   AND (:'status' = '' OR processing_status = :'status')
   AND (:'server_id' = '' OR processing_status = 'processing' AND processing_server_id = :'server_id')
   AND (:'search' = '' OR strpos(lower(original_filename::text), lower(:'search')) > 0)
   AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
 ORDER BY processing_status = 'queued', processing_queued_at, id
 LIMIT :'row_limit'::int;
