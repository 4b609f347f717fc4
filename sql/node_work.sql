-- What each node has done in the last hour, and what went wrong on it last.
--
-- psql "$DATABASE_URL" -v env=development -f sql/node_work.sql
--
-- since_seconds   how far back its files are counted (default 3600)
--
-- completed, failed   files that ended under its server ID in that time
-- bad_attempts        attempts that went wrong, those that were tried again as well; at most the newest 1000 of a node are looked at
-- last_error          of its newest bad attempt, the last 500 letters
--
-- A node is a range of events_by_node. With an equality the primary key gives the same order, and the planner takes that where a
-- few nodes have most of the events: it reads the history of all nodes for each that has none.
\ir _session.sql
\if :{?since_seconds} \else \set since_seconds 3600 \endif
WITH ended AS (
    SELECT processing_server_id AS server_id,
           count(*) FILTER (WHERE processing_status = 'completed') AS completed,
           count(*) FILTER (WHERE processing_status = 'failed') AS failed
      FROM :"files"
     WHERE processing_status IN ('completed', 'failed') AND deleted IS NOT TRUE
       AND processing_completed_at >= now() - :'since_seconds'::float8 * interval '1 second'
     GROUP BY processing_server_id
)
SELECT n.server_id, coalesce(ended.completed, 0) AS completed, coalesce(ended.failed, 0) AS failed, bad.attempts AS bad_attempts,
       last.error AS last_error, last.at AS last_error_at
  FROM :"nodes" AS n
  LEFT JOIN ended ON ended.server_id = n.server_id
  LEFT JOIN LATERAL (
       SELECT right(e.reason, 500) AS error, e.at FROM :"events" AS e
        WHERE e.server_id >= n.server_id AND (e.server_id, e.id) <= (n.server_id, 9223372036854775807)
          AND e.kind = 'attempt' AND e.outcome IN ('raised', 'crashed', 'timeout', 'rejected')
        ORDER BY e.server_id DESC, e.id DESC LIMIT 1) AS last ON true
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE e.at >= now() - :'since_seconds'::float8 * interval '1 second'
                                 AND e.outcome IN ('raised', 'crashed', 'timeout', 'orphaned')) AS attempts
         FROM (SELECT at, outcome FROM :"events"
                WHERE server_id >= n.server_id AND (server_id, id) <= (n.server_id, 9223372036854775807)
                ORDER BY server_id DESC, id DESC LIMIT 1000) AS e) AS bad
 ORDER BY n.server_id;
