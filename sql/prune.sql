-- Prune: drop nodes that have been silent for long and hold nothing, and events and logs older than we keep them.
--
-- psql "$DATABASE_URL" -v env=development -f sql/prune.sql
--
-- node_days    silence after which a node's row goes (default 7)
-- event_days   age after which an event goes (default 90); what a migration or a watch has noted stays
-- log_days     age after which what an attempt has said goes (default 14)
\ir _session.sql
\if :{?node_days} \else \set node_days 7 \endif
\if :{?event_days} \else \set event_days 90 \endif
\if :{?log_days} \else \set log_days 14 \endif
WITH nodes_gone AS (
    DELETE FROM :"nodes" AS n
     WHERE n.lease_until < clock_timestamp() - :'node_days'::float8 * interval '1 day'
       AND NOT EXISTS (SELECT FROM :"files" AS f
                        WHERE f.processing_status = 'processing' AND f.processing_server_id = n.server_id)
    RETURNING 1
), events_gone AS (
    DELETE FROM :"events"
     WHERE at < clock_timestamp() - :'event_days'::float8 * interval '1 day' AND kind NOT IN ('migrate', 'watch') RETURNING 1
), logs_gone AS (
    DELETE FROM :"logs" WHERE at < clock_timestamp() - :'log_days'::float8 * interval '1 day' RETURNING 1
)
SELECT (SELECT count(*) FROM nodes_gone) AS nodes, (SELECT count(*) FROM events_gone) AS events,
       (SELECT count(*) FROM logs_gone) AS logs;
