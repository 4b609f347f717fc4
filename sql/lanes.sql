-- The lanes that have files queued or in processing: how many, and how long the oldest has waited. Longest queue first.
--
-- psql "$DATABASE_URL" -v env=development -f sql/lanes.sql
--
-- row_limit   most lanes (default 1000)
--
-- Counted from the index of the lanes. A file with a head start came later than its place says (expedite.sql): where the
-- first of a lane has one, the oldest is looked for among the first hundred.
\ir _session.sql
\ir _lane.sql
\if :{?lane}
\else
\ir _no_lanes.sql
\endif
\if :{?row_limit} \else \set row_limit 1000 \endif
WITH live AS (
    SELECT f.:"lane" AS lane, count(*) AS queued, count(*) FILTER (WHERE f.processing_queued_at <= now()) AS due, 0 AS processing
      FROM :"files" AS f
     WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE
     GROUP BY f.:"lane"
    UNION ALL
    SELECT f.:"lane", 0, 0, count(*) FROM :"files" AS f
     WHERE f.processing_status = 'processing' AND f.deleted IS NOT TRUE
     GROUP BY f.:"lane"
), summed AS (
    SELECT lane, sum(queued)::bigint AS queued, sum(due)::bigint AS due, sum(processing)::bigint AS processing
      FROM live GROUP BY lane ORDER BY sum(queued) DESC, lane LIMIT :'row_limit'::int
)
SELECT summed.lane::text AS lane, queued, due, processing,
       greatest(0, least(greatest(extract(epoch FROM clock_timestamp()) - extract(epoch FROM first.came_at), -1e10), 1e10))::float8
       AS oldest_queued_seconds
  FROM summed
  LEFT JOIN LATERAL (
       SELECT min(greatest(head.queued_at, head.arrived_at)) AS came_at
         FROM ((SELECT f.processing_queued_at AS queued_at, f.processing_arrived_at AS arrived_at FROM :"files" AS f
                 WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND f.:"lane" = summed.lane
                 ORDER BY f.processing_queued_at, f.id LIMIT 100)
               UNION ALL
               (SELECT f.processing_queued_at, f.processing_arrived_at FROM :"files" AS f
                 WHERE summed.lane IS NULL AND f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND f.:"lane" IS NULL
                 ORDER BY f.:"lane", f.processing_queued_at, f.id LIMIT 100)) AS head) AS first ON summed.queued > 0
 ORDER BY queued DESC, lane;
