-- A node whose attempts end badly in a row says so, and learns whether it is to rest before its next claim.
--
-- psql: for nodes; an operator has no use for it.
--
-- server_id, boot   the node
-- streak_seconds    how long ago the first of these attempts ended
--
-- forgiven   it was cleared since then (resumed, or a probe went well): the attempts in a row begin at none again
-- shared     more than half of the nodes that claim fare like that, too, and are not alone: the files are to blame, or
--            the world, and a rest would keep the good files that wait behind the bad ones
-- No row: the node is deposed.
\ir _session.sql
WITH mine AS (
    UPDATE :"nodes" SET streak_at = clock_timestamp()
     WHERE server_id = :'server_id' AND boot = :'boot'::uuid
    RETURNING cleared_at
), others AS (
    SELECT count(*) AS claiming, count(*) FILTER (WHERE n.streak_at > clock_timestamp() - interval '30 seconds') AS failing
      FROM :"nodes" AS n
     WHERE n.server_id <> :'server_id' AND n.state = 'active' AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
       AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id))
)
SELECT coalesce(mine.cleared_at > clock_timestamp() - :'streak_seconds'::float8 * interval '1 second', false) AS forgiven,
       others.claiming > 0 AND 2 * (others.failing + 1) > others.claiming + 1 AS shared
  FROM mine, others;
