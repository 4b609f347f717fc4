-- The nodes whose lease runs, by name.
--
-- psql "$DATABASE_URL" -v env=development -f sql/alive_nodes.sql
\ir _session.sql
SELECT server_id FROM :"nodes" WHERE lease_until >= clock_timestamp() AND stopped_at IS NULL ORDER BY server_id;
