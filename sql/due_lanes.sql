-- The lanes that have queued files, and when the first of each is due: a leap from lane to lane in their index.
--
-- psql: for nodes; lanes.sql is for people.
--
-- row_limit   most lanes
-- beyond      begin with this lane, as an array literal of the column's type; '{}': with the first
\ir _session.sql
WITH RECURSIVE lanes AS (
    (SELECT f.:"lane" AS lane, f.processing_queued_at AS queued_at FROM :"files" AS f
      WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE
        AND f.:"lane" >= coalesce((CAST(:'beyond' AS :"lane_schema".:"lane_array"))[1],
                                  (SELECT g.:"lane" FROM :"files" AS g
                                    WHERE g.processing_status = 'queued' AND g.deleted IS NOT TRUE AND g.:"lane" IS NOT NULL
                                    ORDER BY g.:"lane", g.processing_queued_at, g.id LIMIT 1))
      ORDER BY f.:"lane", f.processing_queued_at, f.id LIMIT 1)
     UNION ALL
    SELECT next.lane, next.queued_at
      FROM lanes CROSS JOIN LATERAL (
           SELECT f.:"lane" AS lane, f.processing_queued_at AS queued_at FROM :"files" AS f
            WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND f.:"lane" > lanes.lane
            ORDER BY f.:"lane", f.processing_queued_at, f.id LIMIT 1) AS next
)
SELECT lane::text AS lane,
       least(greatest(extract(epoch FROM queued_at) - extract(epoch FROM clock_timestamp()), -1e10), 1e10)::float8 AS due_seconds
  FROM (SELECT named.lane, named.queued_at FROM (SELECT * FROM lanes LIMIT :'row_limit'::int) AS named
        UNION ALL
        -- Those without a lane are a lane, too: ordered by the column itself, or all of them would be sorted.
        (SELECT f.:"lane", f.processing_queued_at FROM :"files" AS f
          WHERE f.processing_status = 'queued' AND f.deleted IS NOT TRUE AND f.:"lane" IS NULL
          ORDER BY f.:"lane", f.processing_queued_at, f.id LIMIT 1)) AS found;
