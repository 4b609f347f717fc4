-- What expedite.sql would move, oldest place first; changes nothing.
--
-- psql "$DATABASE_URL" -v env=development -v which=every -v of_lane=17 -v ahead_seconds=7200 -f sql/expeditable.sql
--
-- which, ids, search, of_lane, row_limit, ahead_seconds   as in expedite.sql
--
-- queued_at is the place that a file has now, place the one that it would have.
\ir _session.sql
\ir _lane.sql
\if :{?which} \else \set which ids \endif
\if :{?ids} \else \set ids '{}' \endif
\if :{?search} \else \set search '' \endif
\if :{?of_lane} \else \set of_lane '' \endif
\if :{?row_limit} \else \set row_limit 10000 \endif
\if :{?ahead_seconds} \else \set ahead_seconds 3600 \endif
SELECT id::text AS id, original_filename,
       least(greatest(processing_queued_at, processing_arrived_at), now()) AS arrived_at,
       processing_queued_at AS queued_at,
       least(greatest(processing_queued_at, processing_arrived_at), now()) - :'ahead_seconds'::float8 * interval '1 second' AS place
  FROM :"files"
 WHERE (:'which' = 'ids' AND id = ANY (:'ids') OR :'which' = 'every') AND processing_status = 'queued' AND deleted IS NOT TRUE
   AND (:'search' = '' OR strpos(lower(original_filename::text), lower(:'search')) > 0)
   AND (:'of_lane' = '' OR CASE WHEN :'lane_column' = 'processing_status' OR :"lane_column" IS NULL THEN '(none)' ELSE :"lane_column"::text END = :'of_lane')
   AND (:'which' = 'ids' OR processing_queued_at IS DISTINCT FROM
        least(greatest(processing_queued_at, processing_arrived_at), now()) - :'ahead_seconds'::float8 * interval '1 second')
 ORDER BY processing_queued_at, id
 LIMIT :'row_limit'::int;
