-- What nobody has pruned: events and silent nodes a day past the age at which each node prunes them.
--
-- psql "$DATABASE_URL" -v env=development -f sql/doctor/pruning.sql
\ir ../_session.sql
SELECT extract(epoch FROM clock_timestamp() - (
           SELECT at FROM :"events" WHERE kind <> 'migrate' AND at < now() - interval '91 days' ORDER BY at LIMIT 1
       ))::float8 AS oldest_seconds,
       (SELECT count(*) FROM :"nodes" AS n
         WHERE n.lease_until < clock_timestamp() - interval '8 days'
           AND NOT EXISTS (SELECT FROM :"files" AS f WHERE f.processing_status = 'processing'
                                                       AND f.processing_server_id = n.server_id)) AS nodes;
