-- Which lanes each node that claims takes: {"only": [...], "except": [...]}; {} for all.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/routes.sql
\ir ../_session.sql
SELECT n.server_id, coalesce(n.lanes, '{}') AS lanes
  FROM :"nodes" AS n
 WHERE n.state = 'active' AND n.lease_until >= clock_timestamp() AND n.stopped_at IS NULL
   AND NOT EXISTS (SELECT FROM :"pauses" AS p WHERE p.scope IN ('*', n.server_id))
 ORDER BY n.server_id;
