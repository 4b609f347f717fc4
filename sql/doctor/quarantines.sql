-- The nodes in quarantine, each with the evidence: since when, the files that it failed, where these completed, the next probe.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/quarantines.sql
--
-- files   [{id, name, error, completedBy}], at most ten of `count`; NULL where none is kept: an older version of opskit, or
--         somebody by hand, put the node there
\ir ../_session.sql
SELECT n.server_id, e.at AS since, e.reason, e.details -> 'files' AS files, (e.details ->> 'count')::int AS count,
       extract(epoch FROM n.probe_at - clock_timestamp())::float8 AS probe_seconds
  FROM :"nodes" AS n
  LEFT JOIN LATERAL (
       SELECT at, reason, details, outcome FROM :"events"
        WHERE kind = 'state' AND server_id = n.server_id ORDER BY id DESC LIMIT 1) AS e ON e.outcome = 'quarantined'
 WHERE n.state = 'quarantined' AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
 ORDER BY n.server_id;
