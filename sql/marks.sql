-- What may have changed the trends: pauses, cleanups, deploys, requeues of many files, the breaker; newest first.
--
-- psql "$DATABASE_URL" -v env=development -f sql/marks.sql
--
-- since_seconds   how far back (default 86400)
-- row_limit       most marks (default 100)
--
-- kind         pause, resume, breaker, migrate, cleanup, requeue, cancel, deploy: the first node of another version started
-- server_id    of a pause: whom, * for all
-- what         of a deploy the version; of the breaker whether it opened or closed
-- file_count   of a cleanup, requeue or cancel: how many files one person did that to within a minute
--
-- Cleanups are looked for among the newest 20,000 events, the others among the newest 5,000 of their kind.
\ir _session.sql
\if :{?since_seconds} \else \set since_seconds 86400 \endif
\if :{?row_limit} \else \set row_limit 100 \endif
WITH told AS MATERIALIZED (
    SELECT e.* FROM pg_catalog.unnest(ARRAY['pause', 'resume', 'breaker', 'migrate', 'requeue', 'cancel', 'boot']) AS wanted (kind)
     CROSS JOIN LATERAL (
           SELECT id, at, kind, outcome, server_id, actor, reason, details ->> 'version' AS version FROM :"events"
            WHERE kind = wanted.kind AND kind <> 'attempt' ORDER BY id DESC LIMIT 5000) AS e
), cleaned AS MATERIALIZED (
    SELECT id, at, kind, actor, reason, details FROM :"events"
     WHERE at >= now() - :'since_seconds'::float8 * interval '1 second' ORDER BY at DESC LIMIT 20000
), versions AS (
    SELECT at, server_id, version, lag(version) OVER (ORDER BY id) AS previous
      FROM told WHERE kind = 'boot' AND version IS NOT NULL
), marks AS (
    SELECT at, kind, server_id, outcome AS what, NULL::bigint AS file_count, actor, reason
      FROM told WHERE kind IN ('pause', 'resume', 'breaker', 'migrate')
     UNION ALL
    SELECT min(at), kind, NULL, NULL, count(*), actor, min(reason)
      FROM told WHERE kind IN ('requeue', 'cancel') GROUP BY kind, actor, date_trunc('minute', at)
     UNION ALL
    SELECT min(at), 'cleanup', NULL, NULL, count(*), actor, min(details ->> 'said')
      FROM cleaned WHERE kind = 'attempt' AND details @> '{"cleanup": true}' GROUP BY actor, date_trunc('minute', at)
     UNION ALL
    SELECT at, 'deploy', server_id, version, NULL, server_id, NULL FROM versions WHERE version <> previous
)
SELECT at, kind, server_id, what, file_count, actor, reason FROM marks
 WHERE at >= now() - :'since_seconds'::float8 * interval '1 second'
 ORDER BY at DESC, kind LIMIT :'row_limit'::int;
